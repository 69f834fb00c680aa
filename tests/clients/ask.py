"""Asks the simulated providers, and signs as Antom does, with the providers' own client libraries.

Reads one JSON object from standard input and prints one.
"""

import http.client
import json
import sys
from urllib.parse import urlparse

import omise
from com.alipay.ams.api import default_alipay_client
from com.alipay.ams.api.request.pay.alipay_pay_query_request import AlipayPayQueryRequest
from com.alipay.ams.api.request.pay.alipay_inquiry_refund_request import AlipayInquiryRefundRequest
from com.alipay.ams.api.response.pay.alipay_inquiry_refund_response import AlipayInquiryRefundResponse
from com.alipay.ams.api.response.pay.alipay_pay_query_response import AlipayPayQueryResponse
from com.alipay.ams.api.tools import _amount_rules, signature_tool, webhook_tool

given = json.load(sys.stdin)


def post_plainly(url, headers=None, req_body=None, charset="UTF-8"):
    """The library's own transport, without TLS: it knows no other port than 443."""
    parts = urlparse(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("POST", parts.path, body=req_body.encode(charset), headers=headers)
    response = connection.getresponse()
    assert response.status == 200, response.status
    return response.getheaders(), response.read()


default_alipay_client.do_post = post_plainly
antom = default_alipay_client.DefaultAlipayClient(
    given["simulator"], given["client_id"], given["merchant_key"], given["antom_public_key"]
)


def payment(request_id):
    request = AlipayPayQueryRequest()
    request.payment_request_id = request_id
    answer = AlipayPayQueryResponse(antom.execute(request))
    return {
        "result": answer.result.result_status.name,
        "status": answer.payment_status and answer.payment_status.name,
        "amount": answer.payment_amount and [answer.payment_amount.currency, answer.payment_amount.value],
        "refunds": len(answer.transactions or []),
    }


def refund(request_id):
    request = AlipayInquiryRefundRequest()
    request.refund_request_id = request_id
    answer = AlipayInquiryRefundResponse(antom.execute(request))
    return {"result": answer.result.result_status.name, "status": answer.refund_status.name}


def is_genuine(sent):
    """True if the library accepts a notification, as a merchant's program would ask it to."""
    return webhook_tool.check_signature(
        "POST", sent["path"], given["client_id"], sent["time"], sent["body"], sent["signature"], given["antom_public_key"]
    )


def charge(charge_id):
    omise.api_secret, omise.api_main = given["secret_key"], given["simulator"]
    omise.api_version = "2019-05-29"
    answer = omise.Charge.retrieve(charge_id)
    return {"status": answer.status, "paid": answer.paid, "amount": [answer.currency, answer.amount]}


currencies, constraints = _amount_rules.get_rules()
notify = given["to_sign"]
print(
    json.dumps(
        {
            "payments": [payment(id) for id in given["payments"]],
            "refund": refund(given["refund"]),
            "genuine": is_genuine(given["notification"]),
            "signature": signature_tool.sign(
                "POST", notify["path"], given["client_id"], notify["time"], notify["body"], given["antom_key"]
            ),
            "charge": charge(given["charge"]),
            "minor_units": {code: rule["minorUnit"] for code, rule in currencies.items()},
            "multiples": {code: rule["minorValueMultiple"] for code, rule in constraints.items()},
        }
    )
)

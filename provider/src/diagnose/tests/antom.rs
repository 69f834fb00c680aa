use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use payhook_schema::AccountName;
use serde::Deserialize;

use super::{Request, causes, guesses, words};
use crate::diagnose::reprint::{Escapes, Layout, Unicode, reprint};
use crate::{Account, AgeLimit, AntomAccount, Limits, PrivateKey, PublicKey, antom};

const CLIENT: &str = "SANDBOX_5X00000000000000";

#[expect(clippy::struct_field_names, reason = "as the file has it")]
#[derive(Deserialize)]
struct Vectors {
    merchant_private_key: String,
    public_key: String,
    other_public_key: String,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    path: String,
    client_id: String,
    time: String,
    body: String,
    signature: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../fixtures/antom/signature_vectors.json")).unwrap()
}

fn vector(id: &str) -> Request {
    let vector = vectors().vectors.into_iter().find(|vector| vector.id == id).unwrap();
    let (path, query) = match vector.path.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (vector.path, None),
    };
    let header = format!("algorithm=RSA256,keyVersion=1,signature={}", vector.signature);
    let headers = vec![("client-id", vector.client_id), ("request-time", vector.time), ("signature", header)];
    Request { path, query, headers, body: vector.body.into_bytes(), at: "2024-06-01T10:02:00Z".parse().unwrap() }
}

/// What Antom's key signs for this path and body, as it comes to the path it is signed for.
fn signed(path: &str, body: &str) -> Request {
    let key = PrivateKey::parse(&vectors().merchant_private_key).unwrap();
    let time = "1717236062000";
    let signature = antom::sign(&key, 1, &antom::signed_message(path, CLIENT, time, body.as_bytes()));
    let headers = [("client-id", CLIENT), ("request-time", time), ("signature", signature.as_str())];
    Request {
        path: path.to_owned(),
        query: None,
        headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
        body: body.as_bytes().to_vec(),
        at: "2024-06-01T10:02:00Z".parse().unwrap(),
    }
}

fn account_with(change: impl FnOnce(&mut AntomAccount)) -> Account {
    let mut account = AntomAccount {
        name: AccountName::new("shop-sg").unwrap(),
        client_id: CLIENT.to_owned(),
        api: "http://127.0.0.1:1".to_owned(),
        sandbox: true,
        private_key: None,
        private_key_version: 1,
        public_keys: keys(&[(1, &vectors().public_key)]),
        apply_token: false,
        signature_age_max: AgeLimit::Off,
        limits: Limits::ANTOM,
    };
    change(&mut account);
    Account::Antom(account)
}

fn keys(keys: &[(u32, &str)]) -> BTreeMap<u32, PublicKey> {
    keys.iter().map(|(version, key)| (*version, PublicKey::parse(key).unwrap())).collect()
}

fn account() -> Account {
    account_with(|_| {})
}

type Bend = fn(&str) -> String;

const NOTIFIED: &str = r#"{"notifyType":"PAYMENT_RESULT","result":{"resultStatus":"S","resultCode":"SUCCESS"},"paymentRequestId":"PR-2024-0001","paymentId":"202406011940108001001880000000001"}"#;

#[test]
fn what_holds_is_told_with_its_key_and_its_age() {
    let told = vector("V2").diagnosed(&account());
    assert!(told.holds && told.causes.is_empty() && told.missing.is_empty() && told.tried.is_empty(), "{told:?}");
    assert_eq!(told.by.as_deref(), Some("keyVersion 1"));
    assert_eq!(told.signed_at, Some("2024-06-01T10:01:02Z".parse().unwrap()));
    assert_eq!(told.age, Some(SignedDuration::from_secs(58)));
    for id in ["V3", "V4", "V4b"] {
        assert!(vector(id).diagnosed(&account()).holds, "{id}");
    }
    // A signature over the bare path holds beside a query, and what proxies do to the header's value is no matter.
    assert!(vector("V4b").query("tenant=7").diagnosed(&account()).holds);
    let bent: [Bend; 3] = [
        |header| header.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="),
        |header| header.replace("%3D", ""),
        |header| header.replace("%2B", "%2b"),
    ];
    for bend in bent {
        assert!(vector("V2").header("signature", bend).diagnosed(&account()).holds);
    }
}

#[test]
fn what_was_done_to_the_ends_of_a_body_is_told() {
    let text = |id| String::from_utf8(vector(id).body).unwrap();
    let (v2, v3) = (text("V2"), text("V3"));
    let cases = [
        ("V3", v3.trim_end().to_owned(), "final_newline_missing"),
        ("V2", format!("{v2}\n"), "final_newline_added"),
        ("V2", format!("{v2}\r\n"), "final_newline_added"),
        ("V2", format!("{v2} \t\n\n"), "blanks_added"),
        ("V2", format!("\n {v2}"), "blanks_added"),
        ("V2", format!("\u{feff}{v2}"), "byte_order_mark_added"),
        ("V3", v3.replace('\n', "\r\n"), "line_endings_changed"),
    ];
    for (id, body, word) in cases {
        assert_eq!(causes(&vector(id).body(body), &account()), [word]);
    }
    let path = "/webhooks/antom";
    let windows = signed(path, &v3.replace('\n', "\r\n")).body(v3.clone());
    assert_eq!(causes(&windows, &account()), ["line_endings_changed"]);
    let marked = signed(path, &format!("\u{feff}{v2}")).body(v2.clone());
    assert_eq!(causes(&marked, &account()), ["byte_order_mark_missing"]);
    let ended = signed(path, &format!("{v2}\r\n")).body(v2);
    assert_eq!(causes(&ended, &account()), ["final_newline_missing"]);
}

#[test]
fn json_that_was_parsed_and_printed_again_is_told() {
    let v2 = String::from_utf8(vector("V2").body).unwrap();
    let plain = Escapes { slash: false, unicode: Unicode::Raw };
    for layout in [Layout::Spaced, Layout::Pretty, Layout::Omise] {
        let printed = reprint(&v2, layout, plain).unwrap();
        assert_eq!(causes(&vector("V2").body(printed.clone()), &account()), ["json_reprinted"]);
        assert_eq!(causes(&vector("V2").body(printed + "\n"), &account()), ["json_reprinted"]);
    }
    let sent = r#"{"reason":"ผู้ใช้","url":"https://x.example/a","n":1.50,"list":[]}"#;
    for slash in [false, true] {
        for unicode in [Unicode::Raw, Unicode::Lower, Unicode::Upper] {
            let written = reprint(sent, Layout::Compact, Escapes { slash, unicode }).unwrap();
            let request = signed("/webhooks/antom", &written);
            for (layout, word) in [(Layout::Compact, "json_escaped_otherwise"), (Layout::Pretty, "json_reprinted")] {
                for escapes in [plain, Escapes { slash: true, unicode: Unicode::Lower }] {
                    let printed = reprint(sent, layout, escapes).unwrap();
                    if printed != written {
                        assert_eq!(
                            causes(&request.clone().body(printed), &account()),
                            [word],
                            "{layout:?} {escapes:?}"
                        );
                    }
                }
            }
        }
    }
    // Blanks as nobody prints them cannot be guessed.
    let v3 = String::from_utf8(vector("V3").body).unwrap();
    let compact = reprint(v3.trim_end(), Layout::Compact, plain).unwrap();
    assert_eq!(guesses(&vector("V3").body(compact), &account()), [""; 0]);
}

#[test]
fn what_was_done_to_the_path_is_told() {
    let cases = [
        ("/webhooks/antom", "/webhooks/antom/", "trailing_slash_added"),
        ("/webhooks/antom/", "/webhooks/antom", "trailing_slash_missing"),
        ("/webhooks/antom", "https://shop.example/webhooks/antom", "path_with_host"),
        ("/webhooks/antom", "/edge/eu/webhooks/antom", "proxy_prefix_added"),
        ("/pay/antom/shop-sg/notifyPayment", "/antom/shop-sg/notifyPayment", "proxy_prefix_missing"),
        ("/antom/shop-sg/notifyPayment", "/antom/shop-sg/notifyRefund", "other_path"),
        ("/antom/shop-sg/notifyRefund", "/hooks", "other_path"),
        ("/antom/shop-sg/notifyAuthorization", "/", "other_path"),
    ];
    for (signed_path, path, word) in cases {
        let request = signed(signed_path, NOTIFIED).path(path);
        let told = request.diagnosed(&account());
        assert_eq!(
            (words(&told.causes), told.by.as_deref()),
            (vec![word], Some("keyVersion 1")),
            "{signed_path} {path}"
        );
        assert!(told.causes[0].what.contains(signed_path), "{:?}", told.causes);
    }
    let with_query =
        signed("/webhooks/antom/?token=hush-hush", NOTIFIED).path("/webhooks/antom").query("token=hush-hush");
    assert_eq!(causes(&with_query, &account()), ["trailing_slash_missing"]);
    let query_lost = signed("/webhooks/antom?token=hush-hush", NOTIFIED).path("/webhooks/antom");
    assert_eq!(guesses(&query_lost, &account()), [""; 0]);
}

#[test]
fn what_was_done_to_the_signature_header_is_told() {
    let bent: [(Bend, &str); 6] = [
        (|header| header.replace("%2B", " ").replace("%2F", "/").replace("%3D", "="), "plus_became_blank"),
        (|header| header.replace("%2B", "%20"), "plus_became_blank"),
        (|header| header.replace('%', "%25"), "percent_encoded_twice"),
        (|header| header.replace("%2B", "-").replace("%2F", "_"), "base64_url_alphabet"),
        (|header| header.split("signature=").nth(1).unwrap().to_owned(), "signature_unnamed"),
        (|header| header.replace("RSA256", "SHA256withRSA"), "algorithm_named_otherwise"),
    ];
    for (bend, word) in bent {
        assert_eq!(causes(&vector("V2").header("signature", bend), &account()), [word]);
    }
    let unnumbered = vector("V2").header("signature", |header| header.replace("keyVersion=1", "keyVersion=v1"));
    assert_eq!(causes(&unnumbered, &account()), ["key_version_malformed"]);
    assert_eq!(unnumbered.diagnosed(&account()).missing, ["`keyVersion` is not a number"]);
}

#[test]
fn a_key_that_is_not_the_one_named_is_told() {
    let Vectors { merchant_private_key, public_key, other_public_key, .. } = vectors();
    let rotated = account_with(|account| account.public_keys = keys(&[(1, &other_public_key), (2, &public_key)]));
    let told = vector("V2").diagnosed(&rotated);
    assert_eq!((words(&told.causes), told.by.as_deref()), (vec!["other_key_version"], Some("keyVersion 2")));

    let ours = account_with(|account| {
        account.public_keys = keys(&[(1, &other_public_key)]);
        account.private_key = Some(PrivateKey::parse(&merchant_private_key).unwrap());
    });
    let told = vector("V2").diagnosed(&ours);
    assert_eq!((words(&told.causes), told.by.as_deref()), (vec!["signed_by_our_own_key"], Some("our own key")));

    let mixed_up = account_with(|account| {
        let own = PrivateKey::generate();
        account.public_keys = BTreeMap::from([(1, own.public_key())]);
        account.private_key = Some(own);
    });
    assert_eq!(guesses(&vector("V2"), &mixed_up), ["own_key_configured"]);
    let not_yet = account_with(|account| account.public_keys = keys(&[(2, &other_public_key)]));
    assert_eq!(guesses(&vector("V2"), &not_yet), ["key_version_unknown"]);
    let stranger = account_with(|account| account.public_keys = keys(&[(1, &other_public_key)]));
    assert_eq!(guesses(&vector("V2"), &stranger), [""; 0]);
}

#[test]
fn another_clients_notification_is_told_whether_or_not_it_holds() {
    let of = |client_id: &str| account_with(|account| account.client_id = client_id.to_owned());
    for (client_id, word) in [("5X00000000000000", "sandbox_at_live"), ("SANDBOX_5Y", "other_client_id")] {
        let told = vector("V2").diagnosed(&of(client_id));
        assert_eq!((told.holds, words(&told.causes), told.causes[0].proven), (true, vec![word], true));
    }
    let live = vector("V2").header("client-id", |_| "5X00000000000000".to_owned());
    assert_eq!(causes(&live, &account()), ["client_id_altered"]);
    let strangers = account_with(|account| account.public_keys = keys(&[(1, &vectors().other_public_key)]));
    assert_eq!(guesses(&live, &strangers), ["live_at_sandbox"]);
    let both = vector("V2").path("/webhooks/antom/");
    assert_eq!(causes(&both, &of("5X00000000000000")), ["trailing_slash_added", "sandbox_at_live"]);
}

#[test]
fn two_things_at_once_are_both_told() {
    let v3 = String::from_utf8(vector("V3").body).unwrap();
    let request = vector("V3").path("/webhooks/antom/").body(v3.trim_end());
    assert_eq!(causes(&request, &account()), ["trailing_slash_added", "final_newline_missing"]);
    let blanks = vector("V2").header("signature", |header| header.replace("%2B", " "));
    let blanks = blanks.path("/edge/webhooks/antom");
    assert_eq!(causes(&blanks, &account()), ["proxy_prefix_added", "plus_became_blank"]);
    let v2 = String::from_utf8(vector("V2").body).unwrap();
    let pretty = reprint(&v2, Layout::Pretty, Escapes { slash: false, unicode: Unicode::Raw }).unwrap();
    let rotated = account_with(|account| {
        let Vectors { public_key, other_public_key, .. } = vectors();
        account.public_keys = keys(&[(1, &other_public_key), (2, &public_key)]);
    });
    assert_eq!(causes(&vector("V2").body(pretty.clone()), &rotated), ["json_reprinted", "other_key_version"]);
    let refund = signed("/antom/shop-sg/notifyRefund", &v2).path("/hooks").body(pretty);
    assert_eq!(causes(&refund, &account()), ["other_path", "json_reprinted"]);
}

#[test]
fn a_changed_time_or_amount_is_not_explained_away() {
    let later = vector("V3").header("request-time", |_| "1717236062001".to_owned());
    let told = later.diagnosed(&account());
    assert!(!told.holds && told.causes.is_empty() && told.by.is_none(), "{told:?}");
    for word in ["trailing_slash_missing", "proxy_prefix_missing", "json_reprinted", "client_id_altered"] {
        assert!(told.tried.contains(&word), "{word}: {:?}", told.tried);
    }
    let raised = String::from_utf8(vector("V2").body).unwrap().replace("150000", "150001");
    assert_eq!(guesses(&vector("V2").body(raised), &account()), [""; 0]);
    let cut = vector("V2").body.split_at(100).0.to_vec();
    assert_eq!(guesses(&vector("V2").body(cut), &account()), ["body_cut_short"]);
}

#[test]
fn headers_that_are_missing_or_cannot_be_right_are_told_first() {
    let none = vector("V2").without("client-id").without("request-time").without("signature").diagnosed(&account());
    assert_eq!(none.missing.len(), 3);
    assert_eq!((words(&none.causes), none.tried.len(), none.age), (vec!["header_missing"], 0, None));
    let unsigned = vector("V2").without("signature").diagnosed(&account());
    assert_eq!(unsigned.missing, ["there is no `signature` header"]);
    assert_eq!(unsigned.age, Some(SignedDuration::from_secs(58)));
    let junk = vector("V2").header("signature", |_| "junk".to_owned());
    assert_eq!(guesses(&junk, &account()), ["header_malformed"]);
    assert_eq!(junk.diagnosed(&account()).missing, ["the `signature` header has a part without `=`"]);
}

#[test]
fn an_age_beyond_the_limit_is_told() {
    let strict = account_with(|account| account.signature_age_max = AgeLimit::Within(Duration::from_mins(5)));
    let at = |time: &str| vector("V2").at(time).diagnosed(&strict);
    assert_eq!(words(&at("2024-06-01T10:06:02Z").causes), [""; 0]);
    let old = at("2024-06-01T10:06:03Z");
    assert_eq!((old.holds, words(&old.causes)), (true, vec!["too_old"]));
    assert_eq!(old.causes[0].what, "it was signed 301 s before it was received, and this account takes 300 s");
    assert_eq!(words(&at("2024-06-01T09:00:00Z").causes), ["too_new"]);
}

#[test]
fn what_is_genuine_and_no_notification_is_unreadable() {
    let told = signed("/webhooks/antom", "[]").diagnosed(&account());
    assert_eq!((told.holds, words(&told.causes)), (true, vec!["unreadable"]));
}

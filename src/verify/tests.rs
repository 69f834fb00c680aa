//! Captured requests as they are checked and shown.

use std::collections::BTreeMap;

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

const ACCOUNTS: &str = r#"
[ingress]
public_base = "https://shop.example/pay"
[omise.shop]
livemode = false
api = "https://api.omise.co"
webhook_secrets = ["AAEC"]
[omise.kiosk]
livemode = true
api = "https://api.omise.co"
webhook_secrets = ["AAED"]
"#;

/// Returns the target of a request, by the arguments and the captured head.
fn target(arguments: &str, head: &str) -> Result<(String, String, bool), String> {
    let config = Config::read(ACCOUNTS, "test", Path::new(""), &BTreeMap::new(), OwnKeys::Unused).unwrap();
    let line = format!("payhook verify omise --headers h --body b{arguments}");
    let Command::Verify(arguments) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!("{line}") };
    let captured = Captured::read(&format!("{head}a: b\n")).unwrap();
    let VerifyTarget { account, path, query, assumed } =
        VerifyTarget::find(&config, &arguments, &captured).map_err(|error| error.to_string())?;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok((account.name().to_string(), format!("{path}{query}"), assumed))
}

#[test]
fn a_path_is_the_public_one_wherever_it_was_captured() {
    let found = |name: &str, path: &str| Ok((name.to_owned(), path.to_owned(), false));
    let line = |path: &str| format!("POST {path} HTTP/1.1\n");
    assert_eq!(target("", &line("/pay/omise/shop")), found("shop", "/pay/omise/shop"), "before the proxy");
    assert_eq!(target("", &line("/omise/kiosk?x=1")), found("kiosk", "/pay/omise/kiosk?x=1"), "behind it");
    assert_eq!(
        target(" --account kiosk", &line("/omise/shop")),
        found("kiosk", "/pay/omise/shop"),
        "a given path counts"
    );
    let elsewhere = target(" --account shop --path /hooks/omise", &line("/omise/kiosk"));
    assert_eq!(elsewhere, found("shop", "/hooks/omise"));
    assert_eq!(target(" --account shop", ""), Ok(("shop".to_owned(), "/pay/omise/shop".to_owned(), true)));
}

#[test]
fn an_unknown_account_is_not_guessed() {
    assert!(target("", "").unwrap_err().contains("pass --account"));
    assert!(target("", "POST /omise/nobody HTTP/1.1\n").unwrap_err().contains("no omise account `nobody`"));
    assert!(target(" --account nobody", "").unwrap_err().contains("no omise account `nobody`"));
}

#[test]
fn an_age_is_shown_in_its_two_largest_units() {
    for (seconds, words) in [
        (0, "0 s before now"),
        (59, "59 s before now"),
        (125, "2 min 5 s before now"),
        (7_500, "2 h 5 min before now"),
        (90_061, "1 d 1 h before now"),
        (-61, "1 min 1 s after now"),
    ] {
        assert_eq!(in_words(SignedDuration::from_secs(seconds)), words);
    }
}

#[test]
fn the_account_is_in_the_path_its_notifications_come_to() {
    let name = |path, provider| account_in(path, provider).map(|name| name.to_string());
    assert_eq!(name("/antom/shop-sg/notifyPayment", Provider::Antom).as_deref(), Some("shop-sg"));
    assert_eq!(name("/omise/shop-th", Provider::Omise).as_deref(), Some("shop-th"));
    assert_eq!(name("/omise/shop-th?x=1", Provider::Omise).as_deref(), Some("shop-th"));
    assert_eq!(name("/omise/shop-th", Provider::Antom), None);
    assert_eq!(name("/", Provider::Omise), None);
}

#[test]
fn providers_send_post_and_nothing_else() {
    assert!(check_method(None).is_ok() && check_method(Some("post")).is_ok());
    assert!(check_method(Some("GET")).unwrap_err().to_string().contains("sent as GET"));
}

#[test]
fn a_capture_is_as_old_as_it_was_when_it_was_received() {
    let limited = ACCOUNTS.replacen("livemode = false", "livemode = false\nsignature_age_max = \"10m\"", 1);
    let config = Config::read(&limited, "test", Path::new(""), &BTreeMap::new(), OwnKeys::Unused).unwrap();
    let account = account(&config, Provider::Omise, Some(AccountName::new("shop").unwrap())).unwrap();
    let Account::Omise(shop) = &*account else { panic!("omise.shop is Omise's") };
    let (signed_at, body) = (Timestamp::from_second(1_800_000_000).unwrap(), b"{}");
    let text = format!(
        "omise-signature: {}\nomise-signature-timestamp: 1800000000\n",
        shop.webhook_secrets[0].sign("1800000000", body)
    );
    let captured = Captured::read(&text).unwrap();
    let received =
        |at| Received { path: "/pay/omise/shop", query: None, headers: &captured.headers, body, at, id: new_id(at) };
    let is_old = |diagnosis: &Diagnosis| diagnosis.causes.iter().any(|cause| cause.word == "too_old");
    let later = signed_at + SignedDuration::from_hours(30);
    assert!(is_old(&diagnose(&account, &received(later))), "received then, it was");
    let unknown = ageless(&account, later, received);
    assert!(unknown.by.is_some() && !is_old(&unknown), "{unknown:?}");
    assert_eq!(unknown.age, Some(SignedDuration::from_hours(30)), "it is told all the same");
}

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::SignedDuration;
use payhook_schema::AccountName;

use super::{Request, causes, guesses, words};
use crate::diagnose::reprint::{Escapes, Layout, Unicode, reprint};
use crate::omise::WebhookSecret;
use crate::{Account, AgeLimit, Limits, OmiseAccount};

const SECRET_A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECRET_B: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const COMPACT: &[u8] = include_bytes!("../../../fixtures/omise/vector_compact.json");
const PRETTY: &[u8] = include_bytes!("../../../fixtures/omise/vector_pretty.json");
const V1: &str = "349611d458af53590479b46f98da4338e8519a96fa2bc3a5c0e668cf4a84c467";
const V2_A: &str = "fc8b8834d021f288869d46417fb3ab0a0fe67a8e6305afc0a58fa9e2e5bc6499";
const SIGNATURE: &str = "omise-signature";
const TIMESTAMP: &str = "omise-signature-timestamp";

fn account(secrets: &[&str]) -> Account {
    limited(secrets, false, AgeLimit::Off)
}

fn limited(secrets: &[&str], livemode: bool, signature_age_max: AgeLimit) -> Account {
    Account::Omise(OmiseAccount {
        name: AccountName::new("shop-th").unwrap(),
        livemode,
        api: "http://127.0.0.1:1".to_owned(),
        secret_key: None,
        webhook_secrets: secrets.iter().map(|secret| WebhookSecret::parse(secret).unwrap()).collect(),
        signature_age_max,
        limits: Limits::OMISE,
    })
}

fn request(body: &[u8], signature: &str) -> Request {
    Request {
        path: "/omise/shop-th".to_owned(),
        query: None,
        headers: vec![(SIGNATURE, signature.to_owned()), (TIMESTAMP, "1767225600".to_owned())],
        body: body.to_vec(),
        at: "2026-01-01T00:00:02Z".parse().unwrap(),
    }
}

/// What a secret is called wherever it is told from another.
fn name_of(secret: &str) -> String {
    WebhookSecret::parse(secret).unwrap().name()
}

#[test]
fn what_holds_is_told_with_its_secret_and_its_age() {
    let told = request(PRETTY, V2_A).diagnosed(&account(&[SECRET_B, SECRET_A]));
    assert!(told.holds && told.causes.is_empty() && told.missing.is_empty() && told.tried.is_empty(), "{told:?}");
    assert_eq!(told.by.as_deref(), Some(name_of(SECRET_A).as_str()));
    assert_eq!(told.signed_at, Some("2026-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!(told.age, Some(SignedDuration::from_secs(2)));
}

#[test]
fn each_diagnostic_digest_of_the_reference_is_named_by_its_mistake() {
    let mistakes = [
        ("25e49f3b4c048fc29b90c598e8309de6aa9d289a7f34b5bc9bbeef36b2f8fe2e", "secret_used_as_text"),
        ("b6a07414abe78ddeeee36190cb7e60093668b6eea8699368fee636f6f3fd8a95", "dot_omitted"),
        ("144a2e67dc9a3d18104896a8294cbeb979f538ef5ba2da31d1617b768605dd73", "timestamp_not_signed"),
        ("NJYR1FivU1kEebRvmNpDOOhRmpb6K8OlwOZoz0qExGc=", "digest_in_base64"),
        ("a5764e798ee7d894e43b93a5b680991fe60287b5efd8f7aca6fc1aa74904a131", "timestamp_in_milliseconds"),
    ];
    for (digest, word) in mistakes {
        assert_eq!(causes(&request(COMPACT, digest), &account(&[SECRET_A])), [word]);
        // Also while another secret is configured beside it.
        let told = request(COMPACT, digest).diagnosed(&account(&[SECRET_B, SECRET_A]));
        assert_eq!((words(&told.causes), told.by.as_deref()), (vec![word], Some(name_of(SECRET_A).as_str())));
    }
}

#[test]
fn a_timestamp_in_milliseconds_is_told_whichever_was_signed() {
    let e5 = "a5764e798ee7d894e43b93a5b680991fe60287b5efd8f7aca6fc1aa74904a131";
    let in_ms = |digest| request(COMPACT, digest).header(TIMESTAMP, |seconds| format!("{seconds}000"));
    let day = AgeLimit::Within(std::time::Duration::from_hours(24));
    for (limit, words_told) in [(day, vec!["timestamp_in_milliseconds"]), (AgeLimit::Off, vec![])] {
        let told = in_ms(e5).diagnosed(&limited(&[SECRET_A], false, limit));
        assert_eq!((told.holds, words(&told.causes)), (true, words_told));
        assert_eq!(told.age, Some(SignedDuration::from_secs(2)));
    }
    assert_eq!(causes(&in_ms(V1), &account(&[SECRET_A])), ["timestamp_in_milliseconds"]);
}

#[test]
fn a_body_that_was_trimmed_or_printed_again_is_told_either_way() {
    let account = account(&[SECRET_A]);
    // The digests of the reference over what was altered, beside the body that was not.
    let trimmed = "155e4d67d105383367b3041ed2f0433791d4dc61831491d11885c67e2d9a83da";
    assert_eq!(causes(&request(PRETTY, trimmed), &account), ["final_newline_added"]);
    let compacted = "ffc6db29368e9a629f9f10fbfe18427676d9633e2a3065c19370adc96134a1e3";
    assert_eq!(causes(&request(PRETTY, compacted), &account), ["json_reprinted"]);
    // And Omise's own digest, beside a body that was altered on its way.
    assert_eq!(causes(&request(PRETTY.trim_ascii_end(), V2_A), &account), ["final_newline_missing"]);
    let text = std::str::from_utf8(PRETTY).unwrap();
    for layout in [Layout::Compact, Layout::Spaced, Layout::Pretty] {
        for unicode in [Unicode::Raw, Unicode::Lower, Unicode::Upper] {
            let printed = reprint(text.trim(), layout, Escapes { slash: true, unicode }).unwrap();
            assert_eq!(causes(&request(printed.as_bytes(), V2_A), &account), ["json_reprinted"], "{layout:?}");
        }
    }
    let windows = text.replace('\n', "\r\n");
    assert_eq!(causes(&request(windows.as_bytes(), V2_A), &account), ["line_endings_changed"]);
}

#[test]
fn two_things_at_once_are_both_told() {
    let text_as_key = WebhookSecret::parse(&BASE64_STANDARD.encode(SECRET_A)).unwrap();
    let digest = text_as_key.sign("1767225600", PRETTY.trim_ascii_end());
    let account = account(&[SECRET_A]);
    assert_eq!(causes(&request(PRETTY, &digest), &account), ["final_newline_added", "secret_used_as_text"]);
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend_from_slice(COMPACT);
    let in_base64 = "NJYR1FivU1kEebRvmNpDOOhRmpb6K8OlwOZoz0qExGc=";
    assert_eq!(causes(&request(&marked, in_base64), &account), ["byte_order_mark_added", "digest_in_base64"]);
}

#[test]
fn a_secret_configured_in_base64_twice_is_told() {
    let twice = BASE64_STANDARD.encode(SECRET_A);
    assert_eq!(causes(&request(COMPACT, V1), &account(&[&twice])), ["secret_encoded_twice"]);
}

#[test]
fn another_body_or_secret_is_not_explained_away() {
    let raised = String::from_utf8(COMPACT.to_vec()).unwrap().replace("150000", "150001");
    let account_a = account(&[SECRET_A]);
    let told = request(raised.as_bytes(), V1).diagnosed(&account_a);
    assert!(!told.holds && told.causes.is_empty() && told.by.is_none(), "{told:?}");
    for word in ["final_newline_missing", "json_reprinted", "dot_omitted", "secret_used_as_text"] {
        assert!(told.tried.contains(&word), "{word}: {:?}", told.tried);
    }
    assert_eq!(guesses(&request(COMPACT, V1), &account(&[SECRET_B])), [""; 0]);
    assert_eq!(guesses(&request(COMPACT, V1), &account(&[])), ["no_secret_configured"]);
    assert_eq!(guesses(&request(&COMPACT[..200], V1), &account_a), ["body_cut_short"]);
    assert_eq!(guesses(&request(b"", V1), &account_a), ["body_empty"]);
    assert_eq!(guesses(&request(b"object=event", V1), &account_a), ["body_not_json"]);
}

#[test]
fn an_age_beyond_the_limit_is_told_with_what_else_is_wrong() {
    let strict = limited(&[SECRET_A], false, AgeLimit::Within(std::time::Duration::from_mins(5)));
    let at = |time: &str| request(COMPACT, V1).at(time).diagnosed(&strict);
    for (time, expected, age) in [
        ("2026-01-01T00:05:01Z", vec!["too_old"], 301),
        ("2026-01-01T00:05:00Z", vec![], 300),
        ("2025-12-31T23:55:00Z", vec![], -300),
        ("2025-12-31T23:54:59Z", vec!["too_new"], -301),
    ] {
        let told = at(time);
        assert_eq!((told.holds, words(&told.causes), told.age), (true, expected, Some(SignedDuration::from_secs(age))));
    }
    let trimmed = request(PRETTY.trim_ascii_end(), V2_A).at("2026-01-01T01:00:00Z");
    assert_eq!(causes(&trimmed, &strict), ["final_newline_missing", "too_old"]);
    // A time nobody can read is no reason without a limit, and one with it.
    let secret = WebhookSecret::parse(SECRET_A).unwrap();
    let endless = "9999999999999999";
    let unread = request(COMPACT, &secret.sign(endless, COMPACT)).header(TIMESTAMP, |_| endless.to_owned());
    assert_eq!(words(&unread.diagnosed(&strict).causes), ["time_unreadable"]);
    assert_eq!(words(&unread.diagnosed(&account(&[SECRET_A])).causes), [""; 0]);
}

#[test]
fn the_other_modes_events_are_told_whether_or_not_they_hold() {
    let told = request(COMPACT, V1).diagnosed(&limited(&[SECRET_A], true, AgeLimit::Off));
    assert_eq!((told.holds, words(&told.causes), told.causes[0].proven), (true, vec!["test_at_live"], true));
    let live = String::from_utf8(COMPACT.to_vec()).unwrap().replace("\"livemode\":false", "\"livemode\":true");
    assert_eq!(guesses(&request(live.as_bytes(), V1), &account(&[SECRET_B])), ["live_at_test"]);
    let cut = request(COMPACT, V1).body([COMPACT, b"\n"].concat());
    assert_eq!(causes(&cut, &limited(&[SECRET_A], true, AgeLimit::Off)), ["final_newline_added", "test_at_live"]);
}

#[test]
fn headers_that_are_missing_or_cannot_be_right_are_told_first() {
    let account = account(&[SECRET_A]);
    let told = request(COMPACT, V1).without(SIGNATURE).diagnosed(&account);
    assert_eq!(told.missing, ["there is no `omise-signature` header"]);
    assert_eq!((words(&told.causes), told.tried.len()), (vec!["header_missing"], 0));
    assert!(told.signed_at.is_some(), "the other header is read all the same");
    let mut twice = request(COMPACT, V1);
    twice.headers.push((SIGNATURE, V1.to_owned()));
    assert_eq!(words(&twice.diagnosed(&account).causes), ["header_malformed"]);

    let junk = request(COMPACT, "deadbeef").diagnosed(&account);
    assert_eq!(junk.missing, ["`omise-signature` has no hexadecimal digest"]);
    assert_eq!((words(&junk.causes), junk.causes[0].proven), (vec!["header_malformed"], false));
    let stripe = request(COMPACT, &format!("t=1767225600,v1={V1}"));
    assert_eq!(causes(&stripe, &account), ["digest_named"]);

    let secret = WebhookSecret::parse(SECRET_A).unwrap();
    let iso = "2026-01-01";
    let dated = request(COMPACT, &secret.sign(iso, COMPACT)).header(TIMESTAMP, |_| iso.to_owned()).diagnosed(&account);
    assert_eq!((dated.holds, words(&dated.causes)), (true, vec!["header_malformed"]));
    assert_eq!(dated.missing, ["`omise-signature-timestamp` is not Unix seconds"]);
}

#[test]
fn what_is_genuine_and_no_event_is_unreadable() {
    let secret = WebhookSecret::parse(SECRET_A).unwrap();
    let told = request(b"{}", &secret.sign("1767225600", b"{}")).diagnosed(&account(&[SECRET_A]));
    assert_eq!((told.holds, words(&told.causes)), (true, vec!["unreadable"]));
    // A live event's id in test mode.
    let mixed = String::from_utf8(COMPACT.to_vec()).unwrap().replace("evnt_test_", "evnt_");
    let told = request(mixed.as_bytes(), &secret.sign("1767225600", mixed.as_bytes())).diagnosed(&account(&[SECRET_A]));
    assert_eq!((told.holds, words(&told.causes)), (true, vec!["refused"]));
}

//! The paths a notification of Antom's may have been signed for, if not for the one it is said to have come to.

use payhook_schema::AccountName;

use super::Change;
use crate::Received;

const PUBLIC_BASE: &str =
    "give `[ingress] public_base` the public address, so that the path is checked as Antom has it";
const REGISTERED: &str = "check it as it came, with the path of the URL Antom was given, byte for byte";

/// Under which notifications come, after the account's name.
const CALLS: [&str; 3] = ["notifyPayment", "notifyRefund", "notifyAuthorization"];

/// What proxies are often seen to strip. Another prefix is not found; the advice is the same.
const PREFIXES: [&str; 12] = [
    "/payhook",
    "/pay",
    "/api",
    "/webhooks",
    "/webhook",
    "/hooks",
    "/payment",
    "/payments",
    "/v1",
    "/api/v1",
    "/callback",
    "/notify",
];

/// How many leading parts of the received path may be a proxy's.
const PARTS_MAX: usize = 3;

/// The likeliest first; each with the query and without, where there is one. The query itself is in no text: it may be a secret.
pub(super) fn changes(account: &AccountName, received: &Received<'_>) -> Vec<Change<String>> {
    let path = received.path;
    let mut changes = Vec::new();
    let mut add = |word: &'static str, advice: &'static str, signed: String| {
        let with_query = received.query.map(|query| format!("{signed}?{query}"));
        let known = |changes: &[Change<String>], path: &String| changes.iter().any(|change| change.value == *path);
        for (full, words) in with_query.into_iter().map(|path| (path, " and the query")).chain([(signed.clone(), "")]) {
            if signed != path && !known(&changes, &full) {
                let what = format!("it was signed for the path `{signed}`{words}");
                changes.push(Change::new(word, what, advice, full));
            }
        }
    };
    match path.strip_suffix('/') {
        Some(bare) => add("trailing_slash_added", REGISTERED, bare.to_owned()),
        None => add("trailing_slash_missing", REGISTERED, format!("{path}/")),
    }
    if let Some((_, after)) = path.split_once("://") {
        let from = after.find('/').map_or("/", |from| &after[from..]);
        add("path_with_host", "the path alone is signed, without scheme and host", from.to_owned());
    }
    for call in CALLS {
        add("other_path", REGISTERED, format!("/antom/{account}/{call}"));
    }
    let parts = path.match_indices('/').skip(1).take(PARTS_MAX);
    for (from, _) in parts {
        add("proxy_prefix_added", PUBLIC_BASE, path[from..].to_owned());
    }
    for prefix in PREFIXES {
        add("proxy_prefix_missing", PUBLIC_BASE, format!("{prefix}{path}"));
    }
    changes
}

//! Configurations: defaults, environment, and mistakes.

use super::*;

const ANTOM_KEYS: &str = include_str!("../../provider/fixtures/antom/signature_vectors.json");

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::read(text, "test", Path::new(""), &environment, OwnKeys::Required)
}

fn mistakes(text: &str, environment: &[(&str, &str)]) -> String {
    read(text, environment).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_the_examples() {
    let config = read("", &[]).unwrap();
    assert_eq!(config.ingress.listen.to_string(), "127.0.0.1:8080");
    assert!(matches!(config.queue, QueueConfig::Embedded));
    assert!(matches!(&config.store, StoreConfig::Sqlite(path) if path == Path::new("payhook.db")));
    assert_eq!(config.worker.retry_delays.len(), 7);
    assert_eq!(config.worker.follow_events, Some(Duration::from_mins(1)));
    assert_eq!((config.ingress.connections.max, config.ingress.connections.per_peer), (768, 192));
    assert_eq!(config.lame_duck, Duration::from_secs(3));
    let days = config.retention.iter().map(|(kind, age)| (kind.as_str(), age.as_secs() / 86_400)).collect::<Vec<_>>();
    assert_eq!(days.len(), 7);
    assert!(days.contains(&("events", 90)) && days.contains(&("authorization_timeline", 1_095)), "{days:?}");
    assert!(config.notices.is_empty(), "{:?}", config.notices);
    assert!(config.one_process_only(false).is_some());
}

#[test]
fn ingress_needs_no_store_beside_a_broker() {
    let config = read("[queue]\nurl = \"amqp://mq\"", &[]).unwrap();
    assert_eq!(config.one_process_only(true), None);
    assert!(config.one_process_only(false).is_some(), "the other roles would share the default file");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = mistakes(
        r#"
        [ingress]
        listen = "here"
        listne = "127.0.0.1:1"
        [console]
        listen = "0.0.0.0:8081"
        [queue]
        url = "redis://x"
        [worker]
        concurrency = "many"
        retry_delays = ["5s", "1s"]
        [omise.shop]
        livemode = true
        secret_key = "skey_test_1"
        [antom.Shop]
        "#,
        &[],
    );
    for expected in [
        "ingress.listen",
        "ingress.listne: there is no such key",
        "console.token is missing",
        "queue.url must be",
        "worker.concurrency",
        "retry_delays must rise",
        "omise.shop.webhook_secrets is missing",
        "omise.shop.api is missing",
        "secret_key and livemode disagree",
        "[antom.Shop]: an account's name",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
}

#[test]
fn every_key_can_come_from_the_environment() {
    let environment = [
        ("PAYHOOK__QUEUE__URL", "amqp://u:secret@mq/v"),
        ("PAYHOOK__STORE__URL", "postgres://u:secret@db/payhook"),
        ("PAYHOOK__WORKER__CONCURRENCY", "7"),
        ("PAYHOOK__WORKER__RETRY_DELAYS", "1s, 2s"),
        ("PAYHOOK__OMISE__SHOP_TH__LIVEMODE", "false"),
        ("PAYHOOK__OMISE__SHOP_TH__SECRET_KEY", "skey_test_1"),
        ("PAYHOOK__OMISE__SHOP_TH__WEBHOOK_SECRETS", "AAECAwQFBgc=,AAECAwQFBgg="),
        ("PAYHOOK__OMISE__SHOP_TH__API", "http://127.0.0.1:9"),
        ("PAYHOOK_CONFIG", "not a key"),
    ];
    let config = read("", &environment).unwrap();
    assert_eq!((config.worker.concurrency, config.worker.retry_delays.len()), (7, 2));
    let account = config.accounts.all().remove(0);
    assert_eq!(account.name().as_str(), "shop-th");
    assert!(config.one_process_only(false).is_none());
    let printed = format!("{config:?}");
    assert!(!printed.contains("secret@") && !printed.contains("skey_test_1"), "{printed}");
}

#[test]
fn an_antom_account_is_read_with_its_keys() {
    let keys: serde_json::Value = serde_json::from_str(ANTOM_KEYS).unwrap();
    let text = |sandbox: bool, private: &str, public: &str| {
        format!(
            "[antom.shop]\nclient_id = \"SANDBOX_1\"\napi = \"https://open-sea-global.alipay.com\"\nsandbox = {sandbox}\n\
             private_key = \"{private}\"\npublic_keys = {{ 1 = \"{public}\" }}\nsignature_age_max = \"25h\""
        )
    };
    let (private, public) = (keys["merchant_private_key"].as_str().unwrap(), keys["public_key"].as_str().unwrap());
    assert_eq!(read(&text(true, private, public), &[]).unwrap().accounts.all().len(), 1);
    assert!(mistakes(&text(false, private, public), &[]).contains("client_id and sandbox disagree"));
    let swapped = mistakes(&text(true, public, private), &[]);
    assert!(swapped.contains("this is a public one") && swapped.contains("this is a private one"), "{swapped}");
    assert!(!swapped.contains(&private[..40]), "no key is shown");
}

#[test]
fn no_account_is_accepted_that_could_verify_nothing() {
    let omise = "[omise.shop]\nlivemode = false\nsecret_key = \"skey_test_1\"\napi = \"https://api.omise.co\"\n";
    assert!(mistakes(omise, &[]).contains("webhook_secrets is missing"));
    assert!(mistakes(&format!("{omise}webhook_secrets = []"), &[]).contains("webhook_secrets is missing"));
    assert!(mistakes(&format!("{omise}webhook_secrets = [\"\"]"), &[]).contains("webhook_secrets[0]"));
}

#[test]
fn keys_never_cross_a_network_in_the_clear() {
    let omise = |api: &str| {
        format!(
            "[omise.s]\nlivemode = false\nsecret_key = \"skey_test_1\"\nwebhook_secrets = [\"AAEC\"]\napi = \"{api}\""
        )
    };
    assert!(read(&omise("http://127.0.0.1:81"), &[]).is_ok());
    for bad in
        ["http://api.omise.co", "https://api.omise.co/v1", "ftp://127.0.0.1", "api.omise.co", "https://u@api.omise.co"]
    {
        assert!(mistakes(&omise(bad), &[]).contains("omise.s.api"), "{bad}");
    }
}

#[test]
fn the_public_path_is_what_a_proxy_strips() {
    let path = |base: &str| read(&format!("[ingress]\npublic_base = \"{base}\""), &[]).map(|it| it.ingress.public_path);
    assert_eq!(path("https://shop.example/pay/").unwrap(), "/pay");
    assert_eq!(path("https://shop.example").unwrap(), "");
    assert!(path("shop.example/pay").is_err());
}

#[test]
fn a_secret_is_given_once_inline_or_as_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a-token-of-16-chars\n").unwrap();
    let by_file = format!("[console]\ntoken_file = \"{}\"", file.path().display());
    assert_eq!(read(&by_file, &[]).unwrap().console.token.unwrap().expose_secret(), "a-token-of-16-chars");
    assert!(mistakes(&format!("{by_file}\ntoken = \"x\""), &[]).contains("not both"));
    let environment = [("PAYHOOK__CONSOLE__TOKEN", "another-token-of-chars")];
    let overridden = read(&by_file, &environment).unwrap().console.token.unwrap();
    assert_eq!(overridden.expose_secret(), "another-token-of-chars", "the environment wins");
}

#[test]
fn secrets_that_every_user_of_the_machine_may_read_are_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (config, token) = (folder.path().join("payhook.toml"), folder.path().join("token"));
    std::fs::write(&token, "a-token-of-16-chars").unwrap();
    let notices = |text: &str, mode: u32| {
        std::fs::write(&config, text).unwrap();
        for file in [&config, &token] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        Config::load(Some(&config), &BTreeMap::new(), OwnKeys::Required).unwrap().notices
    };
    let (inline, by_file) = ("[console]\ntoken = \"a-token-of-16-chars\"", "[console]\ntoken_file = \"token\"");
    for (text, exposed) in [(inline, &config), (by_file, &token)] {
        let noticed = notices(text, 0o644);
        assert!(noticed.len() == 1 && noticed[0].contains(&exposed.display().to_string()), "{noticed:?}");
        assert!(!noticed[0].contains("a-token"), "{noticed:?}");
        assert_eq!(notices(text, 0o640), Vec::<String>::new());
    }
}

#[test]
fn a_role_that_asks_nothing_needs_no_key_of_ours() {
    let text = "[omise.s]\nlivemode = false\nwebhook_secrets = [\"AAEC\"]\napi = \"https://api.omise.co\"";
    assert!(mistakes(text, &[]).contains("omise.s.secret_key is missing"));
    let environment = BTreeMap::new();
    assert!(Config::read(text, "test", Path::new(""), &environment, OwnKeys::Unused).is_ok());
    let wrong = format!("{text}\nsecret_key = \"a placeholder\"");
    for (text, lack) in [(text, "omise.s.secret_key is missing"), (&wrong, "begins with skey_")] {
        let welcome = Config::read(text, "test", Path::new(""), &environment, OwnKeys::Optional).unwrap();
        assert!(welcome.lacks.len() == 1 && welcome.lacks[0].contains(lack), "{:?}", welcome.lacks);
    }
}

const TOKEN_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn callers_are_read_with_their_names_roles_and_tokens() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a-token-for-the-shop-1\n").unwrap();
    let text = format!(
        "[console]\nlisten = \"0.0.0.0:8081\"\n[console.callers.shop]\nrole = \"merchant\"\ntoken_file = \"{}\"\n\
         [console.callers.on-call]\nrole = \"operator\"",
        file.path().display()
    );
    let environment = [("PAYHOOK__CONSOLE__CALLERS__ON_CALL__TOKEN", "a-token-for-on-call-1")];
    let callers = read(&text, &environment).unwrap().console.callers;
    let names: Vec<_> = callers.iter().map(|(_, caller)| (caller.name.as_str(), caller.role.as_str())).collect();
    assert_eq!(names, [("on-call", "operator"), ("shop", "merchant")]);
    assert_eq!(callers[1].0.expose_secret(), "a-token-for-the-shop-1");
    assert!(!format!("{callers:?}").contains("a-token-for"), "no token is printed");
}

#[test]
fn every_mistake_about_callers_is_reported_with_all_the_others() {
    let text = mistakes(
        r#"
        [console]
        token = "the-token-of-everything"
        [console.callers.a]
        role = "viewer"
        token = "the-token-of-a-and-of-b"
        [console.callers.b]
        role = "operator"
        token = "the-token-of-a-and-of-b"
        [console.callers.c]
        role = "root"
        token = "the-token-of-everything"
        [console.callers.d]
        role = "admin"
        token = ""
        [console.callers.e]
        token = "short"
        [console.callers.f]
        role = "all"
        [console.callers.local]
        role = "viewer"
        token = "the-token-of-somebody"
        [console.callers.Shop]
        role = "viewer"
        [ingress]
        body_timeout = "0s"
        "#,
        &[],
    );
    for expected in [
        "console.callers.b.token is the same as console.callers.a.token",
        "console.callers.c.role: `root` is not a role; known are viewer, operator, merchant, admin",
        "console.callers.d.token is empty",
        "console.callers.e.role is missing: one of viewer",
        "console.callers.e.token is too short",
        "console.callers.f.role: `all` is not a role",
        "console.callers.f.token is missing",
        "[console.callers.local]: the audit log uses `local`",
        "[console.callers.Shop]: a caller's name",
        "ingress.body_timeout",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    assert!(!text.contains("the-token-of"), "no token is shown");
}

#[test]
fn a_callers_token_may_not_be_the_one_that_may_do_everything() {
    let text = "[console]\ntoken = \"the-token-of-everything\"\n[console.callers.c]\nrole = \"viewer\"\n\
                token = \"the-token-of-everything\"";
    assert!(mistakes(text, &[]).contains("console.callers.c.token is the same as console.token"));
}

fn antom(more: &str) -> String {
    let keys: serde_json::Value = serde_json::from_str(ANTOM_KEYS).unwrap();
    let (private, public) = (keys["merchant_private_key"].as_str().unwrap(), keys["public_key"].as_str().unwrap());
    format!(
        "{more}\n[antom.shop]\nclient_id = \"SANDBOX_1\"\napi = \"https://open-sea-global.alipay.com\"\nsandbox = true\n\
         private_key = \"{private}\"\npublic_keys = {{ 1 = \"{public}\" }}\n"
    )
}

#[test]
fn token_keys_are_read_inline_as_files_and_from_the_environment() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{TOKEN_KEY}\n")).unwrap();
    let text = format!("[tokens]\nkeys = {{ 1 = \"{TOKEN_KEY}\", 7 = \"@{}\" }}", file.path().display());
    let config = read(&text, &[("PAYHOOK__TOKENS__KEYS__3", TOKEN_KEY)]).unwrap();
    assert_eq!(config.tokens.numbers, [1, 3, 7]);
    assert_eq!(config.tokens.vault.newest(), Some(7));
    let printed = format!("{config:?}");
    assert!(!printed.contains(TOKEN_KEY), "{printed}");
}

#[test]
fn every_mistake_about_token_keys_is_reported_and_no_key_is_shown() {
    let text = format!(
        "[tokens]\nkeys = {{ one = \"{TOKEN_KEY}\", 2 = \"AAEC\", 3 = \"not base64!\", 4 = 4, 5 = \"@nowhere\", \
         6 = \"{TOKEN_KEY}\", 06 = \"{TOKEN_KEY}\" }}"
    );
    let text = mistakes(&text, &[]);
    for expected in [
        "tokens.keys.one: write a number and its key",
        "tokens.keys.2 is 3 bytes long instead of 32",
        "tokens.keys.3 is not base64",
        "tokens.keys.4: write a number and its key",
        "tokens.keys.5: cannot read nowhere",
        "there are two keys of this number",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    assert!(!text.contains(&TOKEN_KEY[..12]), "{text}");
}

#[test]
fn tokens_are_only_asked_for_where_there_is_a_key_to_seal_them_with() {
    assert!(
        mistakes(&(antom("") + "apply_token = true"), &[])
            .contains("antom.shop.apply_token is true, and `[tokens] keys` has no key")
    );
    let without = read(&antom(""), &[]).unwrap();
    assert!(without.notices.iter().any(|notice| notice.contains("TOKEN_CREATED")), "{:?}", without.notices);
    let sealed = format!("[tokens]\nkeys = {{ 1 = \"{TOKEN_KEY}\" }}");
    let with = read(&(antom(&sealed) + "apply_token = true"), &[]).unwrap();
    assert_eq!(with.notices, Vec::<String>::new());
    let account = with.accounts.all().remove(0);
    assert!(matches!(&*account, payhook_provider::Account::Antom(antom) if antom.apply_token));
}

/// An account's limits, with `more` written into its table: Antom's, then Omise's.
fn limits(more: &str) -> Result<[payhook_provider::Limits; 2], String> {
    let omise = "[omise.shop]\nlivemode = false\nsecret_key = \"skey_test_1\"\nwebhook_secrets = [\"AAEC\"]\n\
                 api = \"https://api.omise.co\"\n";
    let text = format!("{}{more}\n{omise}{more}\n", antom(""));
    let config = read(&text, &[]).map_err(|mistakes| mistakes.to_string())?;
    let all = config.accounts.all();
    Ok([all[0].limits(), all[1].limits()])
}

#[test]
fn a_provider_is_asked_as_much_as_it_bears_unless_the_account_says_otherwise() {
    use payhook_provider::Limits;
    assert_eq!(limits("").unwrap(), [Limits::ANTOM, Limits::OMISE]);
    assert_eq!((Limits::ANTOM.parallel, Limits::OMISE.parallel), (16, 8), "as the manual says");
    let four = Limits { parallel: 4, requests_per_s: Some(20) };
    assert_eq!(limits("parallel = 4\nrequests_per_s = 20").unwrap(), [four; 2]);
    assert_eq!(limits("parallel = \"4\"\nrequests_per_s = \"20\"").unwrap(), [four; 2], "as the environment says it");
    assert_eq!(limits("requests_per_s = \"off\"").unwrap(), [Limits::ANTOM, Limits::OMISE]);
}

#[test]
fn limits_that_would_ask_nothing_or_everything_are_mistakes() {
    for (more, expected) in [
        ("parallel = 0", "parallel must be 1 to 1000"),
        ("parallel = 1001", "parallel must be 1 to 1000"),
        ("parallel = \"off\"", "omise.shop.parallel: "),
        ("requests_per_s = 0", "requests_per_s must be 1 to 10000, or `off`"),
        ("requests_per_s = \"fast\"", "requests_per_s must be 1 to 10000, or `off`"),
    ] {
        let text = limits(more).unwrap_err();
        assert!(text.contains(expected), "{more}: {text}");
        assert!(text.contains("antom.shop.") && text.contains("omise.shop."), "{more}: {text}");
    }
}

#[test]
fn events_are_followed_every_now_and_then_or_never() {
    let follow = |text: &str| {
        let config = read(&format!("[worker]\nfollow_events = \"{text}\""), &[]);
        config.map(|config| config.worker.follow_events).map_err(|mistakes| mistakes.to_string())
    };
    assert_eq!(follow("30s"), Ok(Some(Duration::from_secs(30))));
    assert_eq!(follow("off"), Ok(None));
    assert!(follow("often").unwrap_err().contains("worker.follow_events: "));
}

#[test]
fn events_that_must_reach_a_queue_are_named_as_events_or_as_their_keys() {
    assert_eq!(read("", &[]).unwrap().events.must_route, []);
    let both = "[events]\nmust_route = [\"payhook.order.paid.v1\", \"order.refunded.v1\"]";
    assert_eq!(read(both, &[]).unwrap().events.must_route, [EventType::OrderPaid, EventType::OrderRefunded]);
    let by_environment = read("", &[("PAYHOOK__EVENTS__MUST_ROUTE", "order.held.v1")]).unwrap();
    assert_eq!(by_environment.events.must_route, [EventType::OrderHeld]);
    let text = mistakes("[events]\nmust_route = [\"order.paid\"]", &[]);
    assert!(text.contains("events.must_route: `order.paid` is not"), "{text}");
}

#[test]
fn a_certificate_authority_that_cannot_be_used_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let file = file.to_str().unwrap();
    let postgres = |ca: &str| {
        let text =
            format!("[queue]\nurl = \"amqp://mq\"\n[store]\nurl = \"postgres://db/payhook\"\nca_file = \"{ca}\"");
        mistakes(&text, &[])
    };
    let missing = postgres("nowhere.pem");
    assert!(missing.contains("store.ca_file: cannot read nowhere.pem"), "{missing}");
    for (holds, why) in [
        ("", "holds no certificate in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----", "holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----", "holds a certificate that cannot be read"),
    ] {
        std::fs::write(file, holds).unwrap();
        let wrong = postgres(file);
        assert!(wrong.contains(&format!("store.ca_file: {file} {why}")), "{wrong}");
    }
    let unused = mistakes(&format!("[queue]\nca_file = \"{file}\"\n[store]\nca_file = \"{file}\""), &[]);
    for why in ["queue.ca_file: it is for amqps://", "store.ca_file: it is for postgres://"] {
        assert!(unused.contains(why), "{unused}");
    }
}

#[test]
fn history_without_an_age_never_ends_and_a_short_age_gets_a_notice() {
    let ages = |text: &str| read(&format!("[retention]\n{text}"), &[]).map(|config| (config.retention, config.notices));
    let (kinds, notices) = ages("timeline = \"off\"\nevents = \"29d\"").unwrap();
    let named: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    assert!(
        !named.contains(&"timeline") && !named.contains(&"authorization_timeline") && named.len() == 5,
        "{named:?}"
    );
    assert!(notices.iter().any(|notice| notice.contains("retention.events")), "{notices:?}");
    let refused = ages("audit = \"0s\"\nreplays = \"a year\"\nlogs = \"1d\"").unwrap_err().to_string();
    for mistake in ["retention.audit must be", "retention.replays: `a year`", "or `off`", "retention.logs: there is no"]
    {
        assert!(refused.contains(mistake), "{refused}");
    }
}

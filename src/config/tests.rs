use super::*;

const ANTOM_KEYS: &str = include_str!("../../provider/fixtures/antom/signature_vectors.json");

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::read(text, "test", Path::new(""), &environment, Keys::Wanted)
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
    assert!(config.one_process_only().is_some());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = mistakes(
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
        assert!(told.contains(expected), "{expected:?} is not in:\n{told}");
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
    let account = config.accounts.iter().next().unwrap();
    assert_eq!(account.name().as_str(), "shop-th");
    assert!(config.one_process_only().is_none());
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
    assert_eq!(read(&text(true, private, public), &[]).unwrap().accounts.iter().count(), 1);
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
fn whoever_asks_nothing_needs_no_key_of_ours() {
    let text = "[omise.s]\nlivemode = false\nwebhook_secrets = [\"AAEC\"]\napi = \"https://api.omise.co\"";
    assert!(mistakes(text, &[]).contains("omise.s.secret_key is missing"));
    let environment = BTreeMap::new();
    assert!(Config::read(text, "test", Path::new(""), &environment, Keys::NotNeeded).is_ok());
}

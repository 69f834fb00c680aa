//! Broker and database over TLS, with certificates of an authority that only the configuration knows.

use std::collections::BTreeMap;

use payhook_simulator::{AntomKind, AntomStatus};
use payhook_test_servers::{
    Authority, Postgres, PrivatePostgres, PrivateRabbit, Rabbit, not_run, postgres_is_installed, rabbit_is_installed,
};

use crate::harness::{Plan, Ran};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_with_an_authority_of_their_own_are_trusted_by_it_and_by_no_other() {
    if !rabbit_is_installed() || !postgres_is_installed() {
        return not_run("it needs RabbitMQ and PostgreSQL on this machine, to give them certificates");
    }
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::make(folder.path().join("ours")).unwrap();
    let strangers = Authority::make(folder.path().join("strangers")).unwrap();
    let rabbit = PrivateRabbit::start_encrypted(folder.path(), &ours).await.unwrap();
    let postgres = PrivatePostgres::start_encrypted(folder.path(), &ours).await.unwrap();
    let broker = Rabbit::at(&rabbit.encrypted_url(), Some(&rabbit.admin_url())).unwrap();
    let database = Postgres::at(&postgres.url()).unwrap();

    let payhook = Plan::usual().ca_file(ours.certificate()).cluster_on(&broker, &database).await;
    let payment = payhook.antom_order("E-1", "30.00 THB").await;
    payhook.antom_decides(&payment, AntomStatus::Success);
    payhook.antom_notifies(&payment, AntomKind::State).await;
    payhook.becomes("E-1", "paid").await;
    payhook.events_are("E-1", &["order.paid"]).await;
    let encrypted = "select distinct ssl from pg_stat_ssl join pg_stat_activity using (pid) \
        where datname = current_database() and application_name = 'payhook'";
    assert_eq!(payhook.postgres().run(encrypted).await.unwrap().trim(), "t", "every connection is encrypted");

    let stranger = strangers.certificate().display().to_string();
    for (variable, section) in [("PAYHOOK__QUEUE__CA_FILE", "queue"), ("PAYHOOK__STORE__CA_FILE", "store")] {
        let environment = BTreeMap::from([(variable.to_owned(), stranger.clone())]);
        let checked = Ran::payhook_with(&payhook.config(), &["check"], &environment).await.ends_with(1);
        let hint = format!("[{section}] ca_file names its authority");
        assert!(checked.stdout.contains("its certificate is not trusted"), "{checked:?}");
        assert!(checked.stdout.contains(&hint), "{checked:?}");
    }
    payhook.ends_well().await;
    drop(payhook); // what is its own goes before its servers
}

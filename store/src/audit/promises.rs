//! Tests the promises about the audit log, releases and keys.

use payhook_schema::{Hold, HoldReason, Notification, Provider};

use crate::conformance::Harness;
use crate::conformance::sample::{at, key, key_of, new_order, notification, order_id, registered, uuid};
use crate::{AuditEntry, KeyUse, Release, Settled, Settlement};

pub async fn the_keys_that_verified_last_are_listed(Harness { store, .. }: &Harness) {
    assert_eq!(store.keys_used().await.unwrap(), []);
    let antom = key_of(Provider::Antom, "shop", "p1");
    let other = key_of(Provider::Omise, "other", "p1");
    let verified = |number: u64, payment, by: &str, seconds| Notification {
        verified_by: by.to_owned(),
        ..notification(number, Some(payment), at(seconds))
    };
    let notifications = vec![
        verified(1, &key("p1"), "secret 2", 1),
        verified(2, &key("p1"), "secret 10", 9),
        verified(3, &antom, "keyVersion 2", 3),
        verified(4, &key("p2"), "secret 2", 4),
        verified(5, &other, "secret 1", 5),
        verified(6, &antom, "Key", 6),
    ];
    let archived = Settlement { notifications, ..Settlement::default() };
    assert_eq!(store.settle(&[archived]).await.unwrap(), [Settled::Written]);
    let used = |key: &payhook_schema::PaymentKey, by: &str, seconds| KeyUse {
        provider: key.provider,
        account: key.account.clone(),
        verified_by: by.to_owned(),
        last_at: at(seconds),
    };
    let expected = [
        used(&antom, "Key", 6),
        used(&antom, "keyVersion 2", 3),
        used(&other, "secret 1", 5),
        used(&key("p1"), "secret 10", 9),
        used(&key("p1"), "secret 2", 4),
    ];
    assert_eq!(store.keys_used().await.unwrap(), expected);
}

pub async fn an_audit_entry_is_stored_and_listed_newest_first(Harness { store, .. }: &Harness) {
    let entry = |number: u64| AuditEntry {
        id: uuid(number),
        at: at(number as i64),
        who: "ops".to_owned(),
        role: "replay".to_owned(),
        action: "dead_letter.replay".to_owned(),
        subject: "cause poison ไทย \u{10ffff}'\"\\".to_owned(),
        count: u64::from(u32::MAX) * number,
        reason: number.is_multiple_of(2).then(|| "it was us".to_owned()),
    };
    assert_eq!(store.audit_list(None, 10).await.unwrap(), []);
    for number in [2, 1, 4, 3] {
        store.audit_write(&entry(number)).await.unwrap();
    }
    let changed = AuditEntry { who: "someone else".to_owned(), ..entry(3) };
    store.audit_write(&changed).await.unwrap();
    assert_eq!(store.audit_list(None, 10).await.unwrap(), [4, 3, 2, 1].map(entry), "the first one stands");
    assert_eq!(store.audit_list(None, 2).await.unwrap(), [4, 3].map(entry));
    assert_eq!(store.audit_list(Some(uuid(3)), 10).await.unwrap(), [2, 1].map(entry));
    assert_eq!(store.audit_list(Some(uuid(1)), 10).await.unwrap(), []);

    // Whatever is in it, and however often: what is to be done waits for it.
    let odd = AuditEntry { reason: Some("a\0b".to_owned()), count: u64::MAX, ..entry(5) };
    store.audit_write(&odd).await.unwrap();
    let stored = store.audit_list(None, 1).await.unwrap().remove(0);
    assert_eq!((stored.reason.as_deref(), stored.count), (Some("a\u{fffd}b"), i64::MAX as u64));
}

pub async fn a_release_is_written_with_its_audit_entry(Harness { store, other, .. }: &Harness) {
    let order = registered(&**store, &new_order("A-1", &["p1"]), at(0)).await;
    let release = Release {
        id: uuid(7),
        order: order.id.clone(),
        version: 3,
        holds: vec![Hold { reason: HoldReason::DoublePayment, detail: "ไทย '\"\\".to_owned(), since: at(2) }],
        returned: vec![key("p1")],
        who: "ann".to_owned(),
        reason: "checked".to_owned(),
        at: at(4),
    };
    let audit = AuditEntry {
        id: uuid(8),
        at: at(4),
        who: "ann".to_owned(),
        role: "operator".to_owned(),
        action: "order.release".to_owned(),
        subject: "A-1".to_owned(),
        count: 1,
        reason: Some("checked".to_owned()),
    };
    assert_eq!(store.release_get(release.id).await.unwrap(), None);
    for _ in 0..2 {
        store.release_write(&release, &audit).await.unwrap();
    }
    assert_eq!(other.release_get(release.id).await.unwrap(), Some(release.clone()));
    assert_eq!(store.audit_list(None, 10).await.unwrap(), std::slice::from_ref(&audit));
    // A release that cannot be written leaves no audit entry behind.
    let nowhere = Release { id: uuid(9), order: order_id("A-2"), ..release };
    assert!(store.release_write(&nowhere, &AuditEntry { id: uuid(10), ..audit.clone() }).await.is_err());
    assert_eq!(store.audit_list(None, 10).await.unwrap(), [audit]);
}

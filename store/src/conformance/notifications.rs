use payhook_schema::{
    About, AuthState, AuthorizationName, Notification, PaymentId, Provider, RefundId, SecretDigest, new_id,
};
use uuid::Uuid;

use super::Harness;
use super::sample::{at, key, key_of, notification};
use crate::{NotificationFilter, Settled, Settlement};

/// The first `limit`, newest first.
fn newest(limit: u32) -> NotificationFilter {
    NotificationFilter { limit, ..NotificationFilter::default() }
}

pub async fn archived_notifications_are_listed_newest_first_by_every_filter(Harness { store, .. }: &Harness) {
    let antom = key_of(Provider::Antom, "shop-sg", "p1");
    let refund = RefundId::new("RF-1").unwrap();
    let about = [
        (None, About::Payment(key("p1").id)),
        (Some(&antom), About::Payment(antom.id.clone())),
        (Some(&antom), About::Reference("2026 11".to_owned())),
        (Some(&antom), About::Refund { id: refund.clone(), payment: None }),
        (Some(&antom), About::Authorization(AuthorizationName::State(AuthState::new("state-1").unwrap()))),
        (Some(&antom), About::Authorization(AuthorizationName::Token(SecretDigest::of("token")))),
        (None, About::Other),
        (None, About::Payment(key("p2").id)),
    ];
    // Ids as they are made on receipt, ten minutes apart.
    let mut archived: Vec<Notification> = (0..)
        .zip(about)
        .map(|(n, (payment, about))| {
            let (number, received_at) = (n as u64, at(n * 600));
            Notification { id: new_id(received_at), about, ..notification(number, payment, received_at) }
        })
        .collect();
    archived[7].kind = String::from("refund.create");
    (archived[5].sealed_with, archived[5].signed_at) = (Some(3), None);
    let settlement = Settlement { notifications: archived.clone(), ..Settlement::default() };
    assert_eq!(store.settle(&[settlement]).await.unwrap(), [Settled::Written]);

    let listed = store.notification_list(&newest(100)).await.unwrap();
    let expected = archived.iter().rev().map(|it| Notification { body: Vec::new(), ..it.clone() });
    assert_eq!(listed, expected.collect::<Vec<_>>(), "without their bodies");
    for notification in &archived {
        assert_eq!(
            store.notification_get(notification.id).await.unwrap().as_ref(),
            Some(notification),
            "byte for byte"
        );
    }
    assert_eq!(store.notification_get(Uuid::nil()).await.unwrap(), None);

    let found = async |filter: NotificationFilter| {
        let listed = store.notification_list(&filter).await.unwrap();
        listed.iter().map(|it| archived.iter().position(|known| known.id == it.id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found(newest(3)).await, [7, 6, 5]);
    assert_eq!(found(NotificationFilter { before: Some(archived[5].id), ..newest(2) }).await, [4, 3]);
    assert_eq!(found(NotificationFilter { before: Some(archived[0].id), ..newest(2) }).await, [0_usize; 0]);
    let ids = vec![archived[2].id, Uuid::max(), archived[6].id];
    assert_eq!(found(NotificationFilter { ids: ids.clone(), ..newest(9) }).await, [6, 2]);
    assert_eq!(found(NotificationFilter { ids, provider: Some(Provider::Antom), ..newest(9) }).await, [2]);
    let kind = Some("refund.create".to_owned());
    assert_eq!(found(NotificationFilter { kind, ..newest(9) }).await, [7]);
    assert_eq!(found(NotificationFilter { provider: Some(Provider::Omise), ..newest(9) }).await, [7, 6, 0]);
    let account = Some(antom.account.clone());
    assert_eq!(found(NotificationFilter { account: account.clone(), ..newest(9) }).await, [5, 4, 3, 2, 1]);
    let payment = Some(PaymentId::new("p1").unwrap());
    assert_eq!(found(NotificationFilter { payment: payment.clone(), ..newest(9) }).await, [1, 0]);
    assert_eq!(found(NotificationFilter { account, payment, ..newest(9) }).await, [1]);
    assert_eq!(found(NotificationFilter { since: Some(at(3_000)), ..newest(9) }).await, [7, 6, 5]);
    assert_eq!(found(NotificationFilter { since: Some(at(90_000)), ..newest(9) }).await, [0_usize; 0]);

    // What it names is what was found out about it since, too.
    let linked =
        Settlement { notifications: vec![archived[3].clone()], about: Some(antom.clone()), ..Settlement::default() };
    assert_eq!(store.settle(&[linked]).await.unwrap(), [Settled::Written]);
    let known = store.notification_get(archived[3].id).await.unwrap().unwrap();
    assert_eq!(known.about, About::Refund { id: refund, payment: Some(antom.id.clone()) });
    assert_eq!(found(NotificationFilter { payment: Some(antom.id), ..newest(9) }).await, [3, 1, 0]);
}

//! Clocks that are an hour ahead. These promises use the machine's time, because the store may use its server's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::Clock;
use tokio::time::Instant;

use crate::authorizations::promises::{issue, registered as authorized};
use crate::conformance::Harness;
use crate::conformance::sample::{at, capture, key, new_order, read, registered, uuid};
use crate::replays::promises::{create, replay};
use crate::{PaymentCheck, Settled, Settlement};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const HOLD_FOR: Duration = Duration::from_secs(1);
/// The time of one lease, and some more for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn now() -> Timestamp {
    Clock::system().now()
}

/// Waits until `taken` says so: within one lease, and not an hour later.
async fn soon(mut taken: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !taken().await {
        assert!(began.elapsed() < PATIENCE, "still held after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn a_lease_of_a_clock_that_was_ahead_ends_within_its_length(Harness { program, .. }: &Harness) {
    let (mine, theirs) = (uuid(1), uuid(2));
    assert!(program.lease_take("relay", theirs, now() + HOUR, HOLD_FOR).await.unwrap());
    soon(async || program.lease_take("relay", mine, now(), HOLD_FOR).await.unwrap()).await;
    assert!(
        !program.lease_take("relay", theirs, now(), HOLD_FOR).await.unwrap(),
        "a lease that was taken right is held"
    );
    assert!(program.leases_held("relay", now()).await.unwrap() == ["relay"]);
}

pub async fn a_claim_of_a_clock_that_was_ahead_ends_within_its_length(Harness { program, .. }: &Harness) {
    let idle = authorized(&**program, "AU-1", now()).await;
    let mut due = issue(&idle, "token", now());
    due.change.as_mut().unwrap().authorization.next_check_at = Some(now());
    assert_eq!(program.authorization_settle(&due).await.unwrap(), Settled::Written);
    let claim = async |holder, now| program.authorization_claim(&idle.id, holder, now, HOLD_FOR).await.unwrap();
    assert!(claim(uuid(1), now() + HOUR).await.is_some());
    soon(async || claim(uuid(2), now()).await.is_some()).await;

    program.dead_letter_keep(&[crate::dead_letters::promises::letter(1, now())]).await.unwrap();
    let replay = create(&**program, &replay(1)).await;
    let claim = async |now| program.replay_claim(replay.id, now, HOLD_FOR, 9).await.unwrap().len();
    assert_eq!(claim(now() + HOUR).await, 1);
    soon(async || claim(now()).await == 1).await;
}

pub async fn a_sweeper_whose_clock_is_ahead_hides_no_payment(Harness { program, .. }: &Harness) {
    let order = registered(&**program, &new_order("A-1", &["p1"]), now()).await;
    program.order_refresh(&order.id, now()).await.unwrap();
    // It may take the payment, though not for an hour; where it cannot, the next finds it.
    program.payments_due(now() + HOUR, HOLD_FOR, 9, &[]).await.unwrap();
    let mut asked = capture(&order, &key("p1"), 0, now() + HOUR);
    let payment = &mut asked.change.as_mut().unwrap().payment;
    (payment.state, payment.next_check_at) = (order.payments[0].state, Some(now() + HOUR * 2));
    assert_eq!(program.settle(&[asked]).await.unwrap(), [Settled::Written]);
    soon(async || program.payments_due(now(), HOLD_FOR, 9, &[]).await.unwrap() == [key("p1")]).await;
    assert!(read(&**program, &order.id).await.payments[0].next_check_at < Some(now() + HOUR), "and is held no longer");
}

pub async fn a_schedule_that_no_right_clock_wrote_is_due(Harness { program, .. }: &Harness) {
    registered(&**program, &new_order("A-1", &["p1", "p2"]), now()).await;
    let far = "9999-12-30T00:00:00Z".parse().unwrap();
    let wait = |id, next_check_at| Settlement {
        check: Some(PaymentCheck { key: key(id), next_check_at: Some(next_check_at), checks: 4, asked: None }),
        ..Settlement::default()
    };
    // A day is what an unfinished payment may wait.
    let waits = [wait("p1", far), wait("p2", now() + SignedDuration::from_hours(24))];
    assert_eq!(program.settle(&waits).await.unwrap(), [Settled::Written, Settled::Written]);
    assert_eq!(program.payments_due(now(), HOLD_FOR, 9, &[]).await.unwrap(), [key("p1")]);
}

pub async fn a_clock_that_went_back_brings_checks_forward(Harness { store, .. }: &Harness) {
    let (hour, hold_for) = (3600, Duration::from_mins(2));
    let order = registered(&**store, &new_order("A-1", &["p1", "p2"]), at(0)).await;
    let idle = authorized(&**store, "AU-1", at(0)).await;
    let mut due = issue(&idle, "token", at(0));
    due.change.as_mut().unwrap().authorization.next_check_at = Some(at(hour + 40));
    assert_eq!(store.authorization_settle(&due).await.unwrap(), Settled::Written);
    // By a clock that was an hour ahead: a question that came to nothing, and a payment that was left to its hint.
    let check = PaymentCheck { key: key("p1"), next_check_at: Some(at(hour + 100)), checks: 2, asked: None };
    let failed = Settlement { check: Some(check), ..Settlement::default() };
    assert_eq!(store.settle(&[failed]).await.unwrap(), [Settled::Written]);
    assert_eq!(store.payments_due(at(hour), hold_for, 9, &[]).await.unwrap(), [key("p2")]);

    for now in [20, 21] {
        assert!(store.payments_due(at(now), hold_for, 9, &[]).await.unwrap().is_empty());
        assert!(store.authorizations_due(at(now), hold_for, 9).await.unwrap().is_empty());
        let next: Vec<_> = read(&**store, &order.id).await.payments.iter().map(|it| it.next_check_at).collect();
        assert_eq!(next, [Some(at(120)), Some(at(140))], "as long as they were to wait, and brought forward once");
    }
    assert_eq!(store.authorizations_due(at(60), hold_for, 9).await.unwrap(), [idle.id]);
    assert_eq!(store.payments_due(at(140), hold_for, 9, &[]).await.unwrap(), [key("p1"), key("p2")]);
}

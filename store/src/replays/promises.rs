//! Tests the promises about replays.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use payhook_schema::{DeadCause, DeadLetterState, Provider, ReplayOutcome, ReplayState, TimelineKind};
use uuid::Uuid;

use crate::conformance::Harness;
use crate::conformance::sample::{at, key, key_of, new_order, notification, order_id, registered, uuid};
use crate::dead_letters::promises::letter;
use crate::{
    Act, DeadLetter, DeadLetterFilter, NewReplay, NotificationFilter, Replay, ReplayItem, ReplayResult, Selection,
    Settled, Settlement, Steer, Store,
};

const HOLD_FOR: Duration = Duration::from_mins(1);

const BAD_KEY: &str = "the key was wrong";

fn act(at: Timestamp) -> Act {
    Act { who: "ann".to_owned(), reason: BAD_KEY.to_owned(), at }
}

/// A replay of all dead letters.
pub(crate) fn replay(number: u64) -> NewReplay {
    NewReplay {
        id: uuid(number),
        selection: Selection::DeadLetters(DeadLetterFilter::default()),
        plan: false,
        rate_per_s: 50,
        canary: 0,
        limit: 1_000,
        act: act(at(1_000) + SignedDuration::from_secs(number as i64)),
    }
}

/// Letters 1 to `count`, the first one the oldest, each about the payment of an order of its own.
async fn letters(store: &dyn Store, count: u64) {
    for n in 1..=count {
        let payment = format!("p{n}");
        registered(store, &new_order(&format!("A-{n}"), &[&payment]), at(0)).await;
        let about = key(&payment);
        let stored = DeadLetter {
            cause: DeadCause::ProviderRefused,
            notification: Some(notification(500 + n, Some(&about), at(0))),
            payment: Some(about),
            ..letter(n, at(n as i64))
        };
        store.dead_letter_keep(&[stored]).await.unwrap();
    }
}

pub(crate) async fn create(store: &dyn Store, new: &NewReplay) -> Replay {
    store.replay_create(new).await.unwrap().0
}

/// Up to `limit` items, of the oldest replay that runs first.
async fn claim(store: &dyn Store, now: Timestamp, limit: u32) -> Vec<ReplayItem> {
    let mut claimed = Vec::new();
    for replay in store.replay_running().await.unwrap() {
        let left = limit - claimed.len() as u32;
        claimed.extend(store.replay_claim(replay.id, now, HOLD_FOR, left).await.unwrap());
    }
    claimed
}

async fn note(store: &dyn Store, items: &[ReplayItem], outcome: ReplayOutcome) {
    note_at(store, items, Some(outcome), at(5_000)).await;
}

async fn note_at(store: &dyn Store, items: &[ReplayItem], outcome: Option<ReplayOutcome>, now: Timestamp) {
    let result = |item: &ReplayItem| ReplayResult { item: item.id, outcome, detail: format!("tried {}", item.n) };
    store.replay_note(&items.iter().map(result).collect::<Vec<_>>(), now).await.unwrap();
}

/// They could not be tried.
async fn untried(store: &dyn Store, items: &[ReplayItem], now: Timestamp) {
    note_at(store, items, None, now).await;
}

async fn get(store: &dyn Store, number: u64) -> Replay {
    store.replay_get(uuid(number)).await.unwrap().unwrap()
}

async fn steer(store: &dyn Store, number: u64, steer: Steer) -> ReplayState {
    store.replay_steer(uuid(number), steer, at(6_000)).await.unwrap().unwrap().state
}

async fn items(store: &dyn Store, number: u64) -> Vec<ReplayItem> {
    store.replay_items(uuid(number), 0, 1_000).await.unwrap()
}

/// The letters of a replay, by their numbers.
async fn taken(store: &dyn Store, number: u64) -> Vec<u64> {
    items(store, number).await.iter().map(|item| item.dead_letter.unwrap().as_u64_pair().1 & 0xffff).collect()
}

fn places(items: &[ReplayItem]) -> Vec<i64> {
    items.iter().map(|item| item.n).collect()
}

async fn letter_states(store: &dyn Store) -> Vec<DeadLetterState> {
    let listed = store.dead_letter_list(&DeadLetterFilter { limit: 1_000, ..DeadLetterFilter::default() }).await;
    listed.unwrap().iter().rev().map(|letter| letter.state).collect()
}

pub async fn a_replay_takes_what_its_filter_says_and_nothing_another_one_has(Harness { store, other, .. }: &Harness) {
    let (store, other) = (&**store, &**other);
    letters(store, 6).await;
    let sixth = DeadLetterFilter { ids: vec![uuid(6)], limit: 1, ..DeadLetterFilter::default() };
    assert_eq!(store.dead_letter_discard(&sixth, &act(at(9))).await.unwrap(), 1);
    let cause = Some(DeadCause::ProviderRefused);
    let of_cause = Selection::DeadLetters(DeadLetterFilter { cause, ..DeadLetterFilter::default() });
    let two = NewReplay { selection: of_cause, limit: 2, canary: 1, ..replay(101) };
    let first = create(store, &two).await;
    let expected = Replay {
        id: uuid(101),
        state: ReplayState::Running,
        plan: false,
        rate_per_s: 50,
        canary: 1,
        who: "ann".to_owned(),
        reason: BAD_KEY.to_owned(),
        detail: None,
        total: 2,
        done: 0,
        changed: 0,
        unchanged: 0,
        failed: 0,
        created_at: two.act.at,
        updated_at: two.act.at,
    };
    assert_eq!(first, expected);
    assert_eq!(taken(store, 101).await, [1, 2], "oldest first");
    let item = items(store, 101).await.remove(0);
    let about = (item.n, item.replay, item.plan, item.rate_per_s, item.dead_letter, item.notification, item.payment);
    assert_eq!(about, (1, uuid(101), false, 50, Some(uuid(1)), Some(uuid(501)), Some(key("p1"))));
    assert_eq!((item.outcome, item.detail), (None, None));
    assert_eq!(create(other, &NewReplay { limit: 9, ..two }).await, first, "asked for again, it is the same");

    create(store, &replay(102)).await;
    assert_eq!(taken(store, 102).await, [3, 4, 5], "neither what another has nor what was discarded");
    let nothing = create(store, &replay(103)).await;
    assert_eq!((nothing.state, nothing.total), (ReplayState::Done, 0));
    // A plan is in nobody's way, and nobody in its: a plan of nothing would read as if nothing were left.
    for number in [104, 105] {
        create(store, &NewReplay { plan: true, ..replay(number) }).await;
        assert_eq!(taken(store, number).await, [1, 2, 3, 4, 5]);
    }
    assert_eq!(steer(store, 101, Steer::Pause).await, ReplayState::Paused);
    assert_eq!(create(store, &replay(106)).await.total, 0, "it has them as long as it can go on");
    assert_eq!(steer(store, 101, Steer::Cancel).await, ReplayState::Cancelled);
    create(store, &replay(107)).await;
    assert_eq!(taken(store, 107).await, [1, 2]);

    let listed: Vec<Uuid> = store.replay_list(3).await.unwrap().iter().map(|replay| replay.id).collect();
    assert_eq!(listed, [107, 106, 105].map(uuid), "newest first");
    assert_eq!(store.replay_get(uuid(999)).await.unwrap(), None);
    assert_eq!(places(&store.replay_items(uuid(104), 2, 2).await.unwrap()), [3, 4]);

    let more: Vec<_> = (10..30).map(|n| letter(n, at(n as i64))).collect();
    store.dead_letter_keep(&more).await.unwrap();
    let at_once: Vec<_> = (201..209).map(|number| NewReplay { limit: 3, ..replay(number) }).collect();
    let creating = at_once.iter().zip([store, other].into_iter().cycle());
    join_all(creating.map(|(new, store)| create(store, new))).await;
    let mut all = Vec::new();
    for number in 201..209 {
        all.extend(taken(store, number).await);
    }
    all.sort_unstable();
    assert_eq!(all, (10..30).collect::<Vec<_>>(), "each letter once");
    takes_notifications_and_payments(store).await;
}

async fn takes_notifications_and_payments(store: &dyn Store) {
    let elsewhere = key_of(Provider::Antom, "shop-sg", "p9");
    let archived = Settlement {
        notifications: vec![notification(601, Some(&elsewhere), at(1)), notification(602, None, at(2))],
        ..Settlement::default()
    };
    assert_eq!(store.settle(&[archived]).await.unwrap(), [Settled::Written]);
    let ids = vec![uuid(602), uuid(601), uuid(502)];
    let of_ids = NotificationFilter { ids, ..NotificationFilter::default() };
    create(store, &NewReplay { selection: Selection::Notifications(of_ids), ..replay(301) }).await;
    let found = items(store, 301).await.into_iter().map(|item| (item.dead_letter, item.notification, item.payment));
    let expected =
        [(None, Some(uuid(601)), Some(elsewhere)), (None, Some(uuid(602)), None)].into_iter().collect::<Vec<_>>();
    assert_eq!(found.collect::<Vec<_>>(), expected, "oldest first, but for the one whose letter is being replayed");

    registered(store, &new_order("B-1", &["q2", "q1"]), at(100)).await;
    registered(store, &new_order("B-2", &["q3"]), at(200)).await;
    let registered_in = |provider| Selection::Payments { provider, account: None, since: at(100), until: at(200) };
    let other_provider = NewReplay { selection: registered_in(Some(Provider::Antom)), ..replay(302) };
    assert_eq!(create(store, &other_provider).await.total, 0);
    create(store, &NewReplay { selection: registered_in(None), ..replay(303) }).await;
    let found = items(store, 303).await.into_iter().map(|item| (item.notification, item.payment.unwrap()));
    assert_eq!(found.collect::<Vec<_>>(), [(None, key("q1")), (None, key("q2"))], "the period ends before its end");
    let again = NewReplay { selection: registered_in(Some(Provider::Omise)), ..replay(304) };
    assert_eq!(create(store, &again).await.total, 0);
}

pub async fn an_item_of_a_replay_is_handed_out_once_until_its_claim_runs_out(Harness { store, other, .. }: &Harness) {
    let (store, other) = (&**store, &**other);
    assert_eq!(claim(store, at(0), 9).await, []);
    letters(store, 24).await;
    create(store, &NewReplay { limit: 4, ..replay(101) }).await;
    create(store, &replay(102)).await;
    assert_eq!(claim(store, at(0), 0).await, []);
    let oldest = claim(store, at(0), 6).await;
    let expected = [(101, 1), (101, 2), (101, 3), (101, 4), (102, 1), (102, 2)].map(|(of, n)| (uuid(of), n));
    assert_eq!(
        oldest.iter().map(|item| (item.replay, item.n)).collect::<Vec<_>>(),
        expected,
        "the oldest replay first"
    );
    let claimers = (0..8).map(|n| claim(if n % 2 == 0 { store } else { other }, at(0), 5));
    let mut claimed: Vec<_> = join_all(claimers).await.into_iter().flatten().collect();
    claimed.extend(claim(store, at(0), 100).await);
    claimed.sort_by_key(|item| item.n);
    assert_eq!(places(&claimed), (3..=20).collect::<Vec<_>>(), "each once, whoever asks at the same time");

    assert_eq!(claim(store, at(59), 100).await, []);
    note(store, &oldest[..1], ReplayOutcome::Changed).await;
    untried(other, &oldest[1..2], at(56)).await;
    assert_eq!(claim(store, at(57), 100).await, [], "what could not be tried is left alone for a moment");
    let waiting = claim(store, at(59), 100).await;
    let tried = ReplayItem { detail: Some("tried 2".to_owned()), ..oldest[1].clone() };
    assert_eq!(waiting, [tried], "what could not be tried waits again, under the same claim");
    let mut again = claim(store, at(60), 100).await;
    assert_eq!(again.len(), 22, "neither what has a result nor what was claimed since");
    again.retain(|item| item.replay == uuid(102) && item.n > 2);
    assert_eq!(again, claimed, "under the same claims");
}

pub async fn a_canary_goes_first_and_alone(Harness { store, other, .. }: &Harness) {
    let (store, other) = (&**store, &**other);
    letters(store, 9).await;
    create(store, &NewReplay { canary: 3, ..replay(101) }).await;
    let first = claim(store, at(0), 2).await;
    assert_eq!(places(&first), [1, 2]);
    let third = claim(other, at(0), 100).await;
    assert_eq!(places(&third), [3]);
    note(store, &first, ReplayOutcome::Changed).await;
    assert_eq!(claim(store, at(0), 100).await, [], "one of them is out");
    untried(store, &third, at(0)).await;
    assert_eq!(claim(store, at(0), 100).await, [], "it is left alone for a moment");
    let third = claim(store, at(2), 100).await;
    assert_eq!(places(&third), [3], "it has no result yet");
    note(store, &third, ReplayOutcome::Unchanged).await;
    assert_eq!(places(&claim(store, at(0), 100).await), [4, 5, 6, 7, 8, 9]);
    assert_eq!(steer(store, 101, Steer::Cancel).await, ReplayState::Cancelled);

    create(store, &NewReplay { canary: 2, ..replay(102) }).await;
    assert_eq!(taken(store, 102).await, [4, 5, 6, 7, 8, 9]);
    let canary = claim(store, at(0), 100).await;
    note(store, &canary[..1], ReplayOutcome::Failed).await;
    let stopped = get(store, 102).await;
    assert_eq!((stopped.state, stopped.failed), (ReplayState::Stopped, 1));
    assert_eq!(stopped.detail.as_deref(), Some("1 of the 2 that went first failed; nothing else was tried"));
    note(store, &canary[1..], ReplayOutcome::Changed).await;
    assert_eq!((claim(store, at(0), 100).await, get(store, 102).await.changed), (Vec::new(), 1));
    assert_eq!(create(store, &replay(103)).await.total, 1, "a stopped one keeps what it has; what failed is free");
    assert_eq!(steer(store, 102, Steer::Resume).await, ReplayState::Running);
    assert_eq!(get(store, 102).await.detail, None);
    assert_eq!(places(&claim(store, at(0), 4).await), [3, 4, 5, 6], "what failed is forgiven");
}

pub async fn a_replay_stops_by_itself_when_too_many_fail(Harness { store, .. }: &Harness) {
    let store = &**store;
    letters(store, 40).await;
    create(store, &replay(101)).await;
    let all = claim(store, at(0), 30).await;
    note(store, &all[..3], ReplayOutcome::Failed).await;
    assert_eq!(get(store, 101).await.state, ReplayState::Running, "three results say nothing");
    note(store, &all[3..15], ReplayOutcome::Unchanged).await;
    assert_eq!(get(store, 101).await.state, ReplayState::Running, "a fifth");
    note(store, &all[15..16], ReplayOutcome::Failed).await;
    let stopped = get(store, 101).await;
    let counted = (stopped.state, stopped.done, stopped.changed, stopped.unchanged, stopped.failed, stopped.total);
    assert_eq!(counted, (ReplayState::Stopped, 16, 0, 12, 4, 40));
    assert_eq!(stopped.detail.as_deref(), Some("4 of 16 failed: more than one in 5"));
    assert_eq!(stopped.updated_at, at(5_000));
    assert_eq!(claim(store, at(0), 100).await, []);
    note(store, &all[16..18], ReplayOutcome::Failed).await;
    assert_eq!(get(store, 101).await.failed, 6, "what was out is counted all the same");
    assert_eq!(steer(store, 101, Steer::Pause).await, ReplayState::Stopped, "it does not go on anyway");

    assert_eq!(steer(store, 101, Steer::Resume).await, ReplayState::Running);
    note(store, &all[18..27], ReplayOutcome::Failed).await;
    assert_eq!(get(store, 101).await.state, ReplayState::Running, "counted anew");
    note(store, &all[27..28], ReplayOutcome::Changed).await;
    let stopped = get(store, 101).await;
    assert_eq!(
        (stopped.state, stopped.detail.as_deref()),
        (ReplayState::Stopped, Some("9 of 10 failed: more than one in 5"))
    );
    assert_eq!(steer(store, 101, Steer::Resume).await, ReplayState::Running);
    note(store, &all[28..], ReplayOutcome::Changed).await;
    note(store, &claim(store, at(0), 100).await, ReplayOutcome::Unchanged).await;
    let done = get(store, 101).await;
    assert_eq!((done.state, done.done, done.detail), (ReplayState::Done, 40, None));
    for steered in [Steer::Pause, Steer::Resume, Steer::Cancel] {
        assert_eq!(steer(store, 101, steered).await, ReplayState::Done);
    }
}

pub async fn a_paused_replay_hands_out_nothing_and_a_cancelled_one_never_again(Harness { store, other, .. }: &Harness) {
    let (store, other) = (&**store, &**other);
    letters(store, 6).await;
    create(store, &replay(101)).await;
    assert_eq!(steer(store, 101, Steer::Resume).await, ReplayState::Running, "it runs");
    assert_eq!(get(store, 101).await.updated_at, replay(101).act.at, "and nothing was changed");
    let out = claim(store, at(0), 2).await;
    assert_eq!(steer(other, 101, Steer::Pause).await, ReplayState::Paused);
    assert_eq!(get(store, 101).await.updated_at, at(6_000));
    assert_eq!(claim(store, at(900), 100).await, [], "not even those whose claim ran out");
    note(store, &out[..1], ReplayOutcome::Changed).await;
    assert_eq!((get(store, 101).await.state, get(store, 101).await.changed), (ReplayState::Paused, 1));
    assert_eq!(steer(store, 101, Steer::Resume).await, ReplayState::Running);
    assert_eq!(places(&claim(store, at(900), 2).await), [3, 4], "first what was never tried");
    assert_eq!(places(&claim(store, at(900), 3).await), [5, 6, 2]);

    assert_eq!(steer(store, 101, Steer::Cancel).await, ReplayState::Cancelled);
    for steered in [Steer::Pause, Steer::Resume, Steer::Cancel] {
        assert_eq!(steer(store, 101, steered).await, ReplayState::Cancelled);
    }
    assert_eq!(claim(store, at(9_000), 100).await, []);
    note(store, &out[1..], ReplayOutcome::Unchanged).await;
    let cancelled = get(store, 101).await;
    assert_eq!((cancelled.state, cancelled.done, cancelled.total), (ReplayState::Cancelled, 2, 6));
    let (replayed, open) = (DeadLetterState::Replayed, DeadLetterState::Open);
    assert_eq!(letter_states(store).await, [replayed, replayed, open, open, open, open], "results are results");
    assert_eq!(store.replay_steer(uuid(999), Steer::Pause, at(0)).await.unwrap(), None);
}

pub async fn a_result_counts_once_and_closes_its_dead_letter(Harness { store, other, .. }: &Harness) {
    let (store, other) = (&**store, &**other);
    let (replayed, open) = (DeadLetterState::Replayed, DeadLetterState::Open);
    letters(store, 4).await;
    create(store, &NewReplay { plan: true, ..replay(101) }).await;
    note(store, &claim(store, at(0), 100).await, ReplayOutcome::Changed).await;
    assert_eq!(get(store, 101).await.state, ReplayState::Done);
    assert_eq!(letter_states(store).await, [open; 4], "a plan changes nothing");

    create(store, &replay(102)).await;
    note(store, &items(store, 102).await, ReplayOutcome::Failed).await;
    assert_eq!(get(store, 102).await.done, 0, "what is not out has no result");
    let out = claim(store, at(0), 100).await;
    // It dies once more while it is being replayed: nobody has seen that death.
    let again = DeadLetter { detail: "again".to_owned(), ..letter(4, at(700)) };
    store.dead_letter_keep(std::slice::from_ref(&again)).await.unwrap();
    let outcomes = [ReplayOutcome::Changed, ReplayOutcome::Unchanged, ReplayOutcome::Failed, ReplayOutcome::Changed];
    let result = |(item, outcome): (&ReplayItem, &ReplayOutcome)| ReplayResult {
        item: item.id,
        outcome: Some(*outcome),
        detail: "a\0b".to_owned(),
    };
    let mut results: Vec<_> = out.iter().zip(&outcomes).map(result).collect();
    results.push(ReplayResult { outcome: Some(ReplayOutcome::Failed), ..results[0].clone() });
    results.push(ReplayResult { item: uuid(999), ..results[0].clone() });
    // All at the same time, from two sides, and once more.
    let (noted, also) = tokio::join!(store.replay_note(&results, at(1)), other.replay_note(&results, at(1)));
    noted.unwrap();
    also.unwrap();
    note(store, &out, ReplayOutcome::Failed).await;
    store.replay_note(&[], at(2)).await.unwrap();
    let done = get(store, 102).await;
    let counted = (done.state, done.done, done.changed, done.unchanged, done.failed, done.updated_at);
    assert_eq!(counted, (ReplayState::Done, 4, 2, 1, 1, at(1)));
    let read = items(store, 102).await;
    assert_eq!(read.iter().map(|item| item.outcome.unwrap()).collect::<Vec<_>>(), outcomes);
    assert_eq!(read[0].detail.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(letter_states(store).await, [replayed, replayed, open, open]);
    assert_eq!(store.backlog().await.unwrap().dead_letters, 2);

    // Nothing hides behind an old replay; the redelivery of the death it was made for is none.
    let before = store.dead_letter_get(uuid(1)).await.unwrap().unwrap();
    store.dead_letter_keep(&[letter(1, at(1))]).await.unwrap();
    assert_eq!(store.dead_letter_get(uuid(1)).await.unwrap().unwrap(), before);
    store.dead_letter_keep(&[DeadLetter { attempts: 8, ..letter(1, at(800)) }]).await.unwrap();
    let after = store.dead_letter_get(uuid(1)).await.unwrap().unwrap();
    assert_eq!((after.state, after.cause, after.attempts), (open, DeadCause::Poison, 1 + 8), "those of both deaths");
    assert_eq!((after.first_failed_at, after.last_failed_at), (at(1), at(800)));
    assert_eq!(create(store, &replay(103)).await.total, 3, "what failed can be replayed again");
}

pub async fn what_a_replay_did_is_in_the_timeline(Harness { store, .. }: &Harness) {
    let store = &**store;
    letters(store, 2).await;
    let early = DeadLetter { payment: Some(key("early")), ..letter(3, at(3)) };
    store.dead_letter_keep(&[early, letter(4, at(4))]).await.unwrap();
    let operator_entries = async |id: &str| {
        let timeline = store.order_timeline(&order_id(id)).await.unwrap();
        timeline.into_iter().filter(|entry| entry.kind == TimelineKind::Operator).collect::<Vec<_>>()
    };
    create(store, &NewReplay { plan: true, ..replay(101) }).await;
    assert_eq!(claim(store, at(0), 100).await.len(), 4);
    assert_eq!(operator_entries("A-1").await, [], "a plan does nothing");

    create(store, &replay(102)).await;
    assert_eq!(operator_entries("A-1").await, [], "not before it is handed out");
    let out = claim(store, at(10), 100).await;
    assert_eq!(out.len(), 4);
    untried(store, &out[..1], at(10)).await;
    assert_eq!(claim(store, at(12), 1).await.len(), 1);
    assert_eq!(claim(store, at(100), 100).await.len(), 8, "the plan's, too");
    for (n, id) in [(1, "A-1"), (2, "A-2")] {
        let entries = operator_entries(id).await;
        assert_eq!(entries.len(), 1, "once, however often it is handed out");
        assert_eq!((entries[0].at, entries[0].payment.clone()), (at(10), Some(key(&format!("p{n}")))));
        assert_eq!(entries[0].text, "replayed by ann: the key was wrong");
        assert_eq!(entries[0].detail, serde_json::json!({ "who": "ann", "reason": BAD_KEY, "replay_id": uuid(102) }));
    }
}

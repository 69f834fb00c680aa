//! Tests the promises about the feed.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use payhook_schema::EventType;
use uuid::Uuid;

use crate::conformance::Harness;
use crate::conformance::sample::{at, capture, event, new_order, order_id, read, registered};
use crate::{OrderEvents, Settled, Store};

/// Registers orders `A-0` onwards, each with `versions` settlements of one event each.
async fn settled(store: &dyn Store, orders: usize, versions: i64) {
    for n in 0..orders {
        let (id, payment) = (format!("A-{n}"), format!("p{n}"));
        let mut order = registered(store, &new_order(&id, &[&payment]), at(0)).await;
        for version in 1..=versions {
            let captured = capture(&order, &order.payments[0].key, version, at(version));
            assert_eq!(store.settle(&[captured]).await.unwrap(), [Settled::Written]);
            order = read(store, &order.id).await;
        }
    }
}

pub async fn events_are_sequenced_in_version_order_per_order(Harness { store, other, .. }: &Harness) {
    assert_eq!(store.events_sequence(10, at(0)).await.unwrap(), 0);
    settled(&**store, 3, 4).await;
    // One settlement may bring several events.
    let mut order = registered(&**store, &new_order("B-1", &["q1"]), at(0)).await;
    let mut two = capture(&order, &order.payments[0].key, 1, at(9));
    let change = two.change.as_mut().unwrap();
    change.order.version += 1;
    change.events.push(event(&change.order, &order.payments[0].key, EventType::OrderHeld, at(9)));
    assert_eq!(store.settle(&[two]).await.unwrap(), [Settled::Written]);
    order = read(&**store, &order.id).await;
    assert_eq!(order.version, 2);

    assert_eq!(store.events_after(0, 100).await.unwrap(), [], "events without a place are not in the feed");
    assert_eq!(store.events_sequence(5, at(0)).await.unwrap(), 5, "no more than asked for");
    let sequencing = (0..6).map(|n| if n % 2 == 0 { store } else { other }.events_sequence(2, at(0)));
    let placed: usize = join_all(sequencing).await.into_iter().map(Result::unwrap).sum();
    assert!(placed <= 9, "{placed}");
    store.events_sequence(100, at(0)).await.unwrap();
    let feed = store.events_after(0, 100).await.unwrap();
    let first = at(0).as_microsecond() + 1;
    assert_eq!(feed.iter().map(|event| event.seq).collect::<Vec<_>>(), (first..first + 14).collect::<Vec<_>>());
    for (id, versions) in [("A-0", 4), ("A-1", 4), ("A-2", 4), ("B-1", 2)] {
        let of_order = feed.iter().filter(|event| event.event.subject.as_str() == id);
        let in_feed: Vec<_> = of_order.map(|event| event.event.version()).collect();
        assert_eq!(in_feed, (1..=versions).collect::<Vec<_>>(), "{id}");
    }
    assert_eq!(store.events_after(feed[2].seq, 4).await.unwrap(), feed[3..7]);
}

pub async fn a_reader_of_a_restored_feed_misses_nothing(Harness { store, .. }: &Harness) {
    settled(&**store, 1, 2).await;
    store.events_sequence(10, at(10)).await.unwrap();
    let before = store.events_after(0, 10).await.unwrap();
    // Somebody read events that this store does not have: they were given places until 20, and then it was restored.
    let read_up_to = at(20).as_microsecond();
    assert!(before.last().unwrap().seq < read_up_to);
    let order = registered(&**store, &new_order("B-1", &["q1"]), at(21)).await;
    let captured = capture(&order, &order.payments[0].key, 1, at(21));
    assert_eq!(store.settle(&[captured]).await.unwrap(), [Settled::Written]);
    store.events_sequence(10, at(22)).await.unwrap();
    let missed = store.events_after(read_up_to, 10).await.unwrap();
    assert_eq!(missed.iter().map(|event| event.event.subject.as_str()).collect::<Vec<_>>(), ["B-1"]);

    // A clock that went back gives no place twice, and none below one that was given.
    let order = registered(&**store, &new_order("B-2", &["q2"]), at(21)).await;
    let captured = capture(&order, &order.payments[0].key, 1, at(21));
    assert_eq!(store.settle(&[captured]).await.unwrap(), [Settled::Written]);
    store.events_sequence(10, at(1)).await.unwrap();
    let last = store.events_after(missed[0].seq, 10).await.unwrap();
    assert_eq!((last.len(), last[0].seq), (1, missed[0].seq + 1));
}

pub async fn a_reader_of_the_feed_misses_nothing(Harness { store, other, .. }: &Harness) {
    const ORDERS: usize = 6;
    const VERSIONS: i64 = 8;
    let done = AtomicBool::new(false);
    let writing = async {
        settled(&**store, ORDERS, VERSIONS).await;
        done.store(true, Ordering::SeqCst);
    };
    let sequencing = async |store: &dyn Store| {
        loop {
            let last = done.load(Ordering::SeqCst);
            store.events_sequence(3, at(0)).await.unwrap();
            if last && store.events_sequence(3, at(0)).await.unwrap() == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let mut seen: Vec<i64> = Vec::new();
        while seen.len() < ORDERS * VERSIONS as usize {
            let after = seen.last().copied().unwrap_or(0);
            seen.extend(other.events_after(after, 5).await.unwrap().iter().map(|event| event.seq));
            tokio::task::yield_now().await;
        }
        seen
    };
    let ((), (), (), seen) = tokio::join!(writing, sequencing(&**store), sequencing(&**other), reading);
    let first = seen[0];
    assert_eq!(seen, (first..first + ORDERS as i64 * VERSIONS).collect::<Vec<_>>());
}

pub async fn an_event_is_published_until_it_is_marked(Harness { store, .. }: &Harness) {
    settled(&**store, 1, 4).await;
    assert_eq!(store.events_unpublished(0, 10).await.unwrap(), [], "only what has a place is published");
    store.events_sequence(10, at(0)).await.unwrap();
    let feed = store.events_after(0, 10).await.unwrap();
    assert_eq!(store.events_unpublished(0, 10).await.unwrap(), feed);
    assert_eq!(store.events_unpublished(0, 2).await.unwrap(), feed[..2]);
    assert_eq!(store.events_unpublished(feed[0].seq, 2).await.unwrap(), feed[1..3]);
    let ids: Vec<Uuid> = [0, 2].map(|n: usize| feed[n].event.id).into();
    store.events_mark_published(&ids, at(50)).await.unwrap();
    store.events_mark_published(&ids, at(60)).await.unwrap();
    assert_eq!(store.events_unpublished(0, 10).await.unwrap(), [feed[1].clone(), feed[3].clone()]);
    assert_eq!(store.events_after(0, 10).await.unwrap(), feed, "the feed keeps everything");
    let timeline = store.order_timeline(&order_id(&feed[0].event.subject)).await.unwrap();
    let published: Vec<_> = timeline.iter().filter(|entry| entry.kind.as_str() == "publish").collect();
    assert!(published.len() == 2 && published.iter().all(|entry| entry.at == at(50)), "the first time counts");
    store.events_mark_published(&[], at(70)).await.unwrap();
}

pub async fn an_orders_events_are_read_in_version_order(Harness { store, .. }: &Harness) {
    settled(&**store, 2, 12).await;
    let versions = async |id: &str| {
        let OrderEvents { deleted, events } = store.events_of(&order_id(id)).await.unwrap();
        assert_eq!(deleted, None);
        assert!(events.iter().all(|event| event.subject == id));
        events.iter().map(payhook_schema::Event::version).collect::<Vec<_>>()
    };
    assert_eq!(versions("A-1").await, (1..=12).collect::<Vec<_>>(), "whether they have a place in the feed or not");
    store.events_sequence(15, at(0)).await.unwrap();
    let feed = store.events_after(0, 100).await.unwrap();
    store.events_mark_published(&[feed[0].event.id], at(50)).await.unwrap();
    assert_eq!(versions("A-0").await, (1..=12).collect::<Vec<_>>());
    assert_eq!(store.events_of(&order_id("A-0")).await.unwrap().events[0], feed[0].event);
    assert_eq!(store.events_of(&order_id("A-2")).await.unwrap().events, []);
}

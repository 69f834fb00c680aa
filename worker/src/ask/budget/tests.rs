//! Tests the shares of a budget: within the limits, whatever workers come, go or die.

use std::collections::VecDeque;

use payhook_provider::{AgeLimit, OmiseAccount};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn account(parallel: u32, requests_per_s: Option<u32>) -> Account {
    Account::Omise(OmiseAccount {
        name: AccountName::new("shop").unwrap(),
        livemode: false,
        api: String::new(),
        secret_key: None,
        webhook_secrets: Vec::new(),
        signature_age_max: AgeLimit::Off,
        limits: Limits { parallel, requests_per_s },
    })
}

#[test]
fn the_shares_add_up_to_the_limits_exactly_and_none_is_empty() {
    for parallel in 1..=24 {
        for rate in [None, Some(1), Some(2), Some(7), Some(24), Some(500)] {
            let limits = Limits { parallel, requests_per_s: rate };
            let of = shares_of(limits);
            let sum =
                |whole| (0..of).map(|index| part(whole, of, index)).inspect(|part| assert!(*part > 0)).sum::<u32>();
            assert_eq!(sum(parallel), parallel, "{limits:?}");
            assert_eq!(rate.map(sum), rate, "{limits:?}");
        }
    }
}

#[test]
fn questions_are_evenly_spaced_and_a_share_that_was_gained_counts_a_second_later() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut pace = QuestionPace::new(start);
    pace.set(2, start);
    assert_eq!(pace.begin(at(999)), Err(at(1099)), "its last holder may have asked just before");
    assert_eq!(pace.begin(at(1000)), Ok(()));
    assert_eq!(pace.begin(at(1001)), Err(at(1500)));
    assert_eq!(pace.begin(at(1500)), Ok(()));
    pace.set(4, at(1500));
    assert_eq!(pace.begin(at(1750)), Err(at(2000)), "no faster yet");
    assert_eq!(pace.begin(at(2500)), Ok(()));
    assert_eq!(pace.begin(at(2750)), Ok(()));
    pace.set(1, at(2800));
    assert_eq!(pace.begin(at(3000)), Err(at(3750)), "slower at once");
}

#[test]
fn an_account_is_slow_while_somebody_waits_for_it_and_for_long() {
    let budget = Budget::new(&account(1, None), true, Instant::now());
    let waiting = InLine::join(&budget.waiting);
    assert!(!budget.is_slow(), "for a moment");
    budget.slow.store(true, Ordering::Relaxed);
    assert!(budget.is_slow());
    drop(waiting);
    assert!(!budget.is_slow(), "nobody waits");
}

#[test]
fn a_worker_alone_has_everything_at_once() {
    let now = Instant::now();
    let budget = Budget::new(&account(3, None), true, now);
    assert_eq!((0..5).filter(|_| budget.begin(now).is_ok()).count(), 3);
    assert_eq!(*budget.capacity.borrow(), 3);
    budget.end();
    assert!(budget.begin(now).is_ok());
}

#[tokio::test]
async fn a_hint_without_a_share_does_not_wait_in_hand() {
    let (account, asking) = (account(1, None), Arc::new(Semaphore::new(8)));
    let budgets = Budgets::new(false);
    assert!(budgets.turn_if_any(&account, &asking).await.is_none(), "nobody takes one for it");
    let budget = budgets.budget(&account);
    let now = Instant::now();
    budget.plan(1, 0, now);
    budget.renewed(&HashSet::from([budget.lease(0)]), now, now);
    let first = budgets.turn_if_any(&account, &asking).await.unwrap();
    let second = budgets.turn_if_any(&account, &asking);
    let lost = async {
        tokio::task::yield_now().await;
        budget.renewed(&HashSet::new(), now, now);
    };
    let (second, ()) = tokio::join!(second, lost);
    assert!(second.is_none(), "nor when its share goes to another worker");
    drop(first);
    let held = budget.lock();
    assert_eq!((held.places, held.under_way), (0, 0));
}

/// Leases as the store keeps them.
#[derive(Default)]
struct Leases(HashMap<String, (u32, Instant)>);

impl Leases {
    fn held(&self, now: Instant) -> BTreeSet<String> {
        let workers = self.0.iter().filter(|(name, (_, until))| name.starts_with(WORKERS) && *until > now);
        workers.map(|(name, _)| name.clone()).collect()
    }

    fn take(&mut self, names: &[String], holder: u32, now: Instant) -> HashSet<String> {
        let mut taken = HashSet::new();
        for name in names {
            let free = self.0.get(name).is_none_or(|(other, until)| *other == holder || *until <= now);
            if free {
                self.0.insert(name.clone(), (holder, now + SHARE_FOR));
                taken.insert(name.clone());
            }
        }
        taken
    }
}

/// A worker of a made-up cluster.
struct Peer {
    id: u32,
    budget: Budget,
    renews_at: Instant,
    /// A renewal under way: when it began, when the store does it, and when its answer is here.
    renewing: Option<(Instant, Instant, Instant, Option<HashSet<String>>)>,
    /// The times when the questions under way end.
    asking: Vec<Instant>,
    away_until: Instant,
    asked: u32,
}

/// Many workers that come, go, die and lose their store for a while: never is more asked than the limits say, and with
/// peace everybody has a turn.
fn simulate(seed: u64, limits: Limits) {
    const STEP: Duration = Duration::from_millis(50);
    let mut random = StdRng::seed_from_u64(seed);
    let account = account(limits.parallel, limits.requests_per_s);
    let (mut leases, mut peers, mut last_id) = (Leases::default(), Vec::<Peer>::new(), 0);
    let mut now = Instant::now();
    let (end, peace) = (now + Duration::from_mins(25), now + Duration::from_mins(5));
    let mut begun: VecDeque<Instant> = VecDeque::new();
    let (mut in_air_since_peace, mut busiest) = (0, 0);
    while now < end {
        now += STEP;
        let troubled = now < peace;
        if peers.is_empty() || troubled && random.random_bool(0.002) && peers.len() < 20 {
            last_id += 1;
            let budget = Budget::new(&account, false, now);
            let (renewing, asking) = (None, Vec::new());
            peers.push(Peer { id: last_id, budget, renews_at: now, renewing, asking, away_until: now, asked: 0 });
        }
        if troubled && random.random_bool(0.001) {
            let gone = random.random_range(0..peers.len());
            let peer = peers.swap_remove(gone);
            // In good order with nothing under way, or where it stands: its questions end with it.
            if peer.asking.is_empty() {
                leases.0.retain(|_, (holder, _)| *holder != peer.id);
            }
        }
        for peer in &mut peers {
            if troubled && random.random_bool(0.0005) {
                peer.away_until = now + Duration::from_secs(random.random_range(1..60));
            }
            let ended = peer.asking.len();
            peer.asking.retain(|end| *end > now);
            let mut due = false;
            for _ in peer.asking.len()..ended {
                due |= peer.budget.end();
            }
            peer.renew(&mut leases, due, now, &mut random);
            // Somebody always waits.
            peer.budget.waiting.store(1, Ordering::Relaxed);
            while peer.budget.begin(now).is_ok() {
                let longest = if troubled { QUESTION_MAX.as_millis() as u64 } else { 400 };
                peer.asking.push(now + Duration::from_millis(random.random_range(20..longest)));
                begun.push_back(now);
                peer.asked += u32::from(!troubled);
            }
        }
        let under_way: usize = peers.iter().map(|peer| peer.asking.len()).sum();
        assert!(under_way as u32 <= limits.parallel, "seed {seed}: {under_way} at once of {limits:?}");
        while begun.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1)) {
            begun.pop_front();
        }
        if let Some(rate) = limits.requests_per_s {
            assert!(begun.len() as u32 <= rate, "seed {seed}: {} in a second of {limits:?}", begun.len());
        }
        if now > peace + Duration::from_mins(1) {
            in_air_since_peace += under_way;
            busiest = busiest.max(under_way as u32);
        }
    }
    assert!(peers.iter().all(|peer| peer.asked > 0), "seed {seed}: one of {} workers had no turn", peers.len());
    if limits.requests_per_s.is_none() {
        assert_eq!(busiest, limits.parallel, "seed {seed}: {limits:?} is never used up by {} workers", peers.len());
    }
    assert!(in_air_since_peace > 0);
}

impl Peer {
    fn renew(&mut self, leases: &mut Leases, due: bool, now: Instant, random: &mut StdRng) {
        if due {
            self.renews_at = self.renews_at.min(now + TAKE_EVERY);
        }
        let me = format!("{WORKERS}{:04}", self.id);
        if self.renewing.is_none() && now >= self.renews_at {
            let (to, back) = (random.random_range(1..400), random.random_range(1..400));
            let does_at = now + Duration::from_millis(to);
            self.renewing = Some((now, does_at, does_at + Duration::from_millis(back), None));
        }
        let Some((began, does_at, answered_at, answer)) = &mut self.renewing else { return };
        if answer.is_none() && now >= *does_at && now >= self.away_until {
            let mut workers = leases.held(now);
            workers.insert(me.clone());
            let rank = workers.iter().position(|name| *name == me).unwrap() as u32;
            let mut names = self.budget.plan(workers.len() as u32, rank, now);
            names.push(me);
            *answer = Some(leases.take(&names, self.id, now));
        }
        let (began, answered_at) = (*began, *answered_at);
        if now < answered_at || now < self.away_until {
            return;
        }
        if let Some(ours) = answer.take() {
            self.budget.renewed(&ours, began, now);
            for name in self.budget.given_up() {
                if leases.0.get(&name).is_some_and(|(holder, _)| *holder == self.id) {
                    leases.0.remove(&name);
                }
            }
        } else {
            self.budget.not_renewed(now);
        }
        self.renewing = None;
        let no_share = *self.budget.capacity.borrow() == 0;
        let wait = if no_share { TAKE_EVERY } else { RENEW_EVERY.mul_f64(random.random_range(0.5..=1.0)) };
        self.renews_at = now + wait;
    }
}

#[test]
fn whatever_happens_to_the_workers_no_more_is_asked_than_the_limits_say() {
    for seed in 0..4 {
        for (parallel, rate) in [(1, None), (2, None), (8, None), (8, Some(1)), (4, Some(10)), (16, Some(16))] {
            simulate(seed, Limits { parallel, requests_per_s: rate });
        }
    }
}

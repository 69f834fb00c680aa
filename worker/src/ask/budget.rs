//! The limits of a provider for all our workers together, never exceeded by adding workers.
//!
//! An account's limits are cut into shares: each has one question at once or more, and one a second or more. A share is
//! a lease in the store, so that no two workers use it. With as many shares as workers, or more, each worker has its
//! own ones; with fewer, a worker takes one when it has something to ask, and gives it up when others may want it. A
//! hint whose worker has none goes round the queue. Here are the rules; `chores/share.rs` takes and renews the leases.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use payhook_provider::{Account, Limits};
use payhook_schema::{AccountName, Provider};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// A worker shows itself and renews its shares this often; one that did not for so long is gone, and its shares are
/// free.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(5);
pub(crate) const SHARE_FOR: Duration = Duration::from_secs(20);
/// A question that was begun has ended after this, its second try included: the provider's client sees to it.
const QUESTION_MAX: Duration = Duration::from_secs(12);
/// A share is used for so long after its renewal was begun. A worker that cannot renew stops asking in time, so that
/// its questions have ended before another worker has the share.
const USE_FOR: Duration = SHARE_FOR.saturating_sub(QUESTION_MAX);
/// With fewer shares than workers, one is keeps for so long at most before the others have their turn.
const USE_FOR_MAX: Duration = Duration::from_secs(10);
/// A worker that has no share and needs one tries to take one this often.
pub(crate) const TAKE_EVERY: Duration = Duration::from_secs(1);
/// A hint waits in hand so long for its worker to take a share; then it goes round the queue.
const TAKE_WITHIN: Duration = Duration::from_millis(500);
/// A share that was gained counts towards the rate this much later: until then, its last holder's questions may be
/// within the second.
const RATE_AFTER: Duration = Duration::from_secs(1);
/// Between looks where only the renewal of a share can help.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A wait for a turn is long if it is longer than this.
const LONG: Duration = Duration::from_secs(1);
/// The names of the leases: workers by their id, shares by their account and number.
pub(crate) const WORKERS: &str = "worker:";
const SHARES: &str = "share:";

/// The budgets of this worker: the questions it may ask of each account.
pub(crate) struct Budgets {
    /// The only worker there is: every share is its own, for ever.
    pub(crate) alone: bool,
    accounts: Mutex<HashMap<(Provider, AccountName), Arc<Budget>>>,
    /// Wakes whoever renews shares: one is needed, or one can be given up.
    pub(crate) due: Notify,
}

/// The shares of an account, as far as they are this worker's.
pub(crate) struct Budget {
    name: String,
    limits: Limits,
    /// The line of callers: its first asks next.
    line: Arc<Semaphore>,
    held: Mutex<HeldShares>,
    /// Questions that may be under way at once, by the shares in use: none, and hints go round the queue.
    capacity: watch::Sender<u32>,
    /// The number of callers that wait for a turn; and true if the last one that had it had waited long.
    waiting: AtomicUsize,
    slow: AtomicBool,
}

struct HeldShares {
    shares: BTreeMap<u32, Share>,
    /// The shares that were planned last: shares beyond them are being given up.
    wanted: BTreeSet<u32>,
    /// There are fewer shares than workers.
    scarce: bool,
    /// No question is begun after this; absent where nobody else asks.
    until: Option<Instant>,
    /// Questions under way.
    under_way: u32,
    /// Places in the line, and how many of them go when they come back: the line is as long as the shares allow.
    places: u32,
    surplus: u32,
    pace: QuestionPace,
    tried_at: Option<Instant>,
}

struct Share {
    since: Instant,
    /// Not being given up.
    in_use: bool,
}

/// Returns the number of an account's shares: each must have a question at once, and one a second.
fn shares_of(limits: Limits) -> u32 {
    limits.requests_per_s.map_or(limits.parallel, |rate| rate.min(limits.parallel)).max(1)
}

/// Share number `index` of `whole`; the parts add up to it exactly.
fn part(whole: u32, of: u32, index: u32) -> u32 {
    whole / of + u32::from(index < whole % of)
}

impl Budget {
    fn new(account: &Account, alone: bool, now: Instant) -> Self {
        let limits = account.limits();
        let held = HeldShares {
            shares: BTreeMap::new(),
            wanted: BTreeSet::new(),
            scarce: false,
            until: Some(now),
            under_way: 0,
            places: 0,
            surplus: 0,
            pace: QuestionPace::new(now),
            tried_at: None,
        };
        let budget = Self {
            name: format!("{SHARES}{}/{}/", account.provider(), account.name()),
            limits,
            line: Arc::new(Semaphore::new(0)),
            held: Mutex::new(held),
            capacity: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            slow: AtomicBool::new(false),
        };
        if alone {
            let mut held = budget.lock();
            held.until = None;
            held.shares = (0..shares_of(limits)).map(|index| (index, Share { since: now, in_use: true })).collect();
            held.pace.rate = limits.requests_per_s.unwrap_or(0);
            held.pace.before = held.pace.rate;
            budget.fit(&mut held);
        }
        budget
    }

    fn lock(&self) -> MutexGuard<'_, HeldShares> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides which shares this worker, number `rank` of `workers`, uses from now on; the leases to take or renew for
    /// that.
    pub(crate) fn plan(&self, workers: u32, rank: u32, now: Instant) -> Vec<String> {
        let (count, waiting) = (shares_of(self.limits), self.waiting.load(Ordering::Relaxed) > 0);
        let mut held = self.lock();
        held.scarce = workers > count;
        held.wanted = if held.scarce {
            let idle = !waiting && held.under_way == 0;
            let keeps = |share: &Share| share.in_use && !idle && now.duration_since(share.since) < USE_FOR_MAX;
            match held.shares.iter().find(|(_, share)| keeps(share)) {
                Some((&index, _)) => BTreeSet::from([index]),
                None if waiting && held.shares.is_empty() => BTreeSet::from([rand::random_range(0..count)]),
                None => BTreeSet::new(),
            }
        } else {
            (0..count).filter(|index| index % workers == rank).collect()
        };
        let HeldShares { shares, wanted, .. } = &mut *held;
        for (index, share) in shares {
            share.in_use = wanted.contains(index);
        }
        self.adjust(&mut held, now);
        let indexes: BTreeSet<u32> = held.wanted.iter().chain(held.shares.keys()).copied().collect();
        indexes.into_iter().map(|index| self.lease(index)).collect()
    }

    /// Takes note of which leases are this worker's, as of `began`.
    pub(crate) fn renewed(&self, ours: &HashSet<String>, began: Instant, now: Instant) {
        let mut held = self.lock();
        held.shares.retain(|index, _| ours.contains(&self.lease(*index)));
        let gained: Vec<u32> = held.wanted.iter().copied().filter(|index| ours.contains(&self.lease(*index))).collect();
        for index in gained {
            held.shares.entry(index).or_insert(Share { since: now, in_use: true }).in_use = true;
        }
        held.until = Some(began + USE_FOR);
        held.tried_at = Some(now);
        self.adjust(&mut held, now);
    }

    /// Stops asking where the shares could not be renewed in time.
    pub(crate) fn not_renewed(&self, now: Instant) {
        let mut held = self.lock();
        if held.until.is_some_and(|until| until <= now) {
            held.shares.values_mut().for_each(|share| share.in_use = false);
            self.adjust(&mut held, now);
        }
    }

    /// Shares nobody asks by any more, to be given up now.
    pub(crate) fn given_up(&self) -> Vec<String> {
        let mut held = self.lock();
        if !self.can_give_up(&held) {
            return Vec::new();
        }
        let unused: Vec<u32> = held.shares.iter().filter(|(_, share)| !share.in_use).map(|(index, _)| *index).collect();
        held.shares.retain(|_, share| share.in_use);
        unused.into_iter().map(|index| self.lease(index)).collect()
    }

    /// Lists the leases that are this worker's.
    pub(crate) fn leases(&self) -> Vec<String> {
        self.lock().shares.keys().map(|index| self.lease(*index)).collect()
    }

    fn lease(&self, index: u32) -> String {
        format!("{}{index}", self.name)
    }

    /// Adds up the parts of the shares in use: the limit `whole` is cut into as many parts as there are shares.
    fn in_use(&self, held: &HeldShares, whole: u32) -> u32 {
        let of = shares_of(self.limits);
        held.shares.iter().filter(|(_, share)| share.in_use).map(|(index, _)| part(whole, of, *index)).sum()
    }

    /// Returns true if the questions under way are within the shares in use, so that the others can go.
    fn can_give_up(&self, held: &HeldShares) -> bool {
        held.shares.values().any(|share| !share.in_use) && held.under_way <= self.in_use(held, self.limits.parallel)
    }

    fn adjust(&self, held: &mut HeldShares, now: Instant) {
        let rate = self.limits.requests_per_s.map_or(0, |whole| self.in_use(held, whole));
        held.pace.set(rate, now);
        self.fit(held);
    }

    /// Makes the line as long as the shares in use allow; a place that is taken goes when it comes back.
    fn fit(&self, held: &mut HeldShares) {
        let target = self.in_use(held, self.limits.parallel);
        let have = held.places - held.surplus;
        if target > have {
            let pardoned = (target - have).min(held.surplus);
            let added = target - have - pardoned;
            held.surplus -= pardoned;
            held.places += added;
            self.line.add_permits(added as usize);
        } else {
            let less = have - target;
            let gone = self.line.forget_permits(less as usize) as u32;
            held.places -= gone;
            held.surplus += less - gone;
        }
        self.capacity.send_if_modified(|capacity| std::mem::replace(capacity, target) != target);
    }

    /// Begins a question, if that is within this worker's shares now. Else, when to look again.
    fn begin(&self, now: Instant) -> Result<(), Instant> {
        let mut held = self.lock();
        let is_over = held.until.is_some_and(|until| until <= now);
        if is_over || held.under_way >= self.in_use(&held, self.limits.parallel) {
            return Err(now + LOOK_AGAIN);
        }
        if self.limits.requests_per_s.is_some() {
            held.pace.begin(now)?;
        }
        held.under_way += 1;
        Ok(())
    }

    /// Returns true if a question that was begun, and not asked yet, may still be asked.
    fn is_in_time(&self, now: Instant) -> bool {
        self.lock().until.is_none_or(|until| now < until)
    }

    /// Ends a question; whether there is now something to give up.
    fn end(&self) -> bool {
        let mut held = self.lock();
        held.under_way -= 1;
        let is_idle = held.under_way == 0 && self.waiting.load(Ordering::Relaxed) == 0;
        self.can_give_up(&held) || held.scarce && is_idle
    }

    fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed) && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns true if this worker tried to take a share a moment ago, and none was free.
    fn was_refused(&self, now: Instant) -> bool {
        self.lock().tried_at.is_some_and(|at| now.duration_since(at) < TAKE_EVERY)
    }
}

/// Questions evenly spaced: in no second are more begun than the rate says.
struct QuestionPace {
    /// A second, and what it was before: more of them count a while after they were gained.
    rate: u32,
    before: u32,
    since: Instant,
    last: Option<Instant>,
}

impl QuestionPace {
    fn new(now: Instant) -> Self {
        Self { rate: 0, before: 0, since: now, last: None }
    }

    fn now(&self, now: Instant) -> u32 {
        if now < self.since + RATE_AFTER { self.rate.min(self.before) } else { self.rate }
    }

    fn set(&mut self, rate: u32, now: Instant) {
        if rate != self.rate {
            (self.before, self.rate, self.since) = (self.now(now), rate, now);
        }
    }

    fn begin(&mut self, now: Instant) -> Result<(), Instant> {
        let rate = self.now(now);
        if rate == 0 {
            return Err(now + LOOK_AGAIN);
        }
        match self.last.map(|last| last + Duration::from_secs(1) / rate).filter(|next| *next > now) {
            Some(next) => Err(next),
            None => {
                self.last = Some(now);
                Ok(())
            }
        }
    }
}

/// Counts a caller that waits for a turn, until it has its turn or gives up.
struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn join(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// This worker's turn to ask an account: held while it is asked.
pub(crate) struct BudgetTurn<'a> {
    budgets: &'a Budgets,
    budget: Arc<Budget>,
    place: Option<OwnedSemaphorePermit>,
    _asking: OwnedSemaphorePermit,
    /// The first question, begun with the turn.
    first: Mutex<Option<QuestionUnderWay<'a>>>,
}

/// A question under way, from just before it is asked until it is answered.
pub(crate) struct QuestionUnderWay<'a> {
    budgets: &'a Budgets,
    budget: Arc<Budget>,
}

impl BudgetTurn<'_> {
    /// Waits until a question may be asked: the first one at once, and further ones within the rate.
    pub(crate) async fn question(&self) -> QuestionUnderWay<'_> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(first) = first.filter(|_| self.budget.is_in_time(Instant::now())) {
            return first;
        }
        let _in_line = InLine::join(&self.budget.waiting);
        loop {
            match self.budget.begin(Instant::now()) {
                Ok(()) => return QuestionUnderWay { budgets: self.budgets, budget: self.budget.clone() },
                Err(at) => tokio::time::sleep_until(at).await,
            }
        }
    }
}

impl Drop for BudgetTurn<'_> {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        let Some(place) = self.place.take().filter(|_| held.surplus > 0) else { return };
        place.forget();
        held.surplus -= 1;
        held.places -= 1;
    }
}

impl Drop for QuestionUnderWay<'_> {
    fn drop(&mut self) {
        if self.budget.end() {
            self.budgets.due.notify_one();
        }
    }
}

impl Budgets {
    pub(crate) fn new(alone: bool) -> Self {
        Self { alone, accounts: Mutex::default(), due: Notify::new() }
    }

    /// Waits until this worker may ask the account once. `asking` limits what one worker asks of all accounts together.
    pub(crate) async fn turn(&self, account: &Account, asking: &Arc<Semaphore>) -> BudgetTurn<'_> {
        let budget = self.budget(account);
        let _in_line = InLine::join(&budget.waiting);
        self.turn_of(&budget, account, asking).await
    }

    /// The same, for who can come again: nothing where this worker has no share of the account, and none is free.
    pub(crate) async fn turn_if_any(&self, account: &Account, asking: &Arc<Semaphore>) -> Option<BudgetTurn<'_>> {
        let budget = self.budget(account);
        let _in_line = InLine::join(&budget.waiting);
        let mut capacity = budget.capacity.subscribe();
        if *capacity.borrow_and_update() == 0 {
            if budget.was_refused(Instant::now()) {
                return None;
            }
            self.due.notify_one();
            tokio::time::timeout(TAKE_WITHIN, reaches(&mut capacity, |capacity| capacity > 0)).await.ok()?;
        }
        tokio::select! {
            turn = self.turn_of(&budget, account, asking) => Some(turn),
            () = reaches(&mut capacity, |capacity| capacity == 0) => None,
        }
    }

    async fn turn_of(&self, budget: &Arc<Budget>, account: &Account, asking: &Arc<Semaphore>) -> BudgetTurn<'_> {
        let started = Instant::now();
        let place = budget.line.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (asking, first) = loop {
            // Who waits for a slow account keeps nobody else from asking: this permit is not held meanwhile.
            let asking = asking.clone().acquire_owned().await.expect("the semaphore is never closed");
            match budget.begin(Instant::now()) {
                Ok(()) => break (asking, QuestionUnderWay { budgets: self, budget: budget.clone() }),
                Err(at) => {
                    drop(asking);
                    tokio::time::sleep_until(at).await;
                }
            }
        };
        budget.slow.store(started.elapsed() > LONG, Ordering::Relaxed);
        let label = account.provider().as_str();
        metrics::histogram!("payhook_budget_wait_seconds", "provider" => label).record(started.elapsed().as_secs_f64());
        let (budget, first) = (budget.clone(), Mutex::new(Some(first)));
        BudgetTurn { budgets: self, budget, place: Some(place), _asking: asking, first }
    }

    /// Returns true if a caller waits for this account, and the last turn came after a long wait.
    pub(crate) fn is_slow(&self, account: &Account) -> bool {
        self.budget(account).is_slow()
    }

    /// The account's budget, made anew when its limits changed. Questions under the old one finish.
    fn budget(&self, account: &Account) -> Arc<Budget> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Budget::new(account, self.alone, Instant::now()));
        let budget = accounts.entry((account.provider(), account.name().clone())).or_insert_with(new);
        if budget.limits != account.limits() {
            *budget = new();
        }
        budget.clone()
    }

    /// Every account's budget: one that nobody asked yet has its shares all the same.
    pub(crate) fn all(&self, accounts: &[Arc<Account>]) -> Vec<Arc<Budget>> {
        accounts.iter().map(|account| self.budget(account)).collect()
    }
}

/// Waits until the capacity is as wanted.
async fn reaches(capacity: &mut watch::Receiver<u32>, is_wanted: impl Fn(u32) -> bool) {
    let _ = capacity.wait_for(|capacity| is_wanted(*capacity)).await;
}

#[cfg(test)]
mod tests;

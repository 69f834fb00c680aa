//! A random story: a few orders, some dozen acts, and whatever the seed has go wrong in between.

use std::time::Duration;

use jiff::SignedDuration;
use payhook_schema::{PaymentState, Provider};
use payhook_simulator::Fault;
use rand::RngExt;

use crate::oracle::PaymentTruth;
use crate::world::{HOUR, SimulatedWorld};

/// The most seconds a notification may take at the end of a story, when everything works.
const SOON: u32 = 30;

pub(crate) async fn story(world: &mut SimulatedWorld) {
    for _ in 0..world.rng.random_range(2..4) {
        begin(world).await;
    }
    for _ in 0..world.rng.random_range(8..20) {
        act(world).await;
        let ms = [0, 5, 50, 300, 1200][world.rng.random_range(0..5)];
        world.run(ms).await;
    }
    finish(world).await;
}

/// An order with its first attempts, registered now or later.
async fn begin(world: &mut SimulatedWorld) {
    let order = world.new_order("100.00 THB");
    attempt(world, order);
    if world.rng.random_bool(0.7) {
        world.register(order).await;
    }
}

fn attempt(world: &mut SimulatedWorld, order: usize) -> usize {
    let provider = if world.rng.random_bool(0.6) { Provider::Antom } else { Provider::Omise };
    let amount = match world.rng.random_range(0..12) {
        0 => "99.00 THB",
        1 => "100.00 SGD",
        _ => "100.00 THB",
    };
    world.attempt(order, provider, amount)
}

async fn act(world: &mut SimulatedWorld) {
    let order = world.rng.random_range(0..world.orders.len());
    let payment = world.rng.random_range(0..world.payments.len());
    match world.rng.random_range(0..if world.shape.tangled { 107 } else { 100 }) {
        0..4 => begin(world).await,
        4..14 => {
            let payment = attempt(world, order);
            if world.rng.random_bool(0.6) {
                world.register(order).await;
            }
            move_on(world, payment).await;
        }
        14..62 => move_on(world, payment).await,
        62..66 => drop(world.notify(payment).await),
        66..68 if is_found_elsewhere(&world.payments[payment]) => drop(world.notify_under(payment, "other").await),
        68..71 => world.dispute(payment).await,
        71..73 => world.forge(payment).await,
        73..77 => world.register(order).await,
        77..80 if world.orders[order].registered => world.refresh(order).await,
        80..85 => drop(world.release(order).await),
        85..92 => {
            let (calls, after) = (world.rng.random_range(0..60), world.rng.random());
            world.next_ahead = [SignedDuration::ZERO, HOUR, -HOUR][world.rng.random_range(0..3)];
            world.dies_in(calls, after);
        }
        92..95 => outage(world),
        95..98 => {
            let s = [5, 90, 3600, 30 * 3600][world.rng.random_range(0..4)];
            world.time.pass(SignedDuration::from_secs(s));
        }
        98..100 => world.replay().await,
        100..103 => world.agree().await,
        103..105 => world.take_back().await,
        105..107 => world.tell_consent().await,
        _ => {}
    }
}

/// Returns true if a notification of this under another account of ours leads to the payment: Antom's refunds and
/// captures do not name one.
fn is_found_elsewhere(truth: &PaymentTruth) -> bool {
    truth.registered && truth.now().state.took_money() && names_payment(truth)
}

fn names_payment(truth: &PaymentTruth) -> bool {
    truth.key.provider == Provider::Omise || truth.event == "charge.complete"
}

/// Takes a payment one step further at its provider, who notifies of it, or not.
async fn move_on(world: &mut SimulatedWorld, payment: usize) {
    let truth = &world.payments[payment];
    let (now, provider, whole) = (truth.now(), truth.key.provider, truth.amount.amount_minor);
    let left = now.captured_minor - now.refunded_minor;
    match (now.state, world.rng.random_range(0..10)) {
        (PaymentState::Awaiting, 0..6) => world.pay(payment),
        (PaymentState::Awaiting, 6) => {
            let to_capture = if world.rng.random() { whole } else { whole / 2 };
            world.authorize(payment, to_capture);
        }
        (PaymentState::Authorized, 0..7) => world.capture(payment),
        (PaymentState::Awaiting | PaymentState::Authorized, chance) => world.refuse(payment, chance % 2 == 0),
        (PaymentState::Failed | PaymentState::Expired | PaymentState::Cancelled, 0..2) if now == truth.history[1] => {
            world.pay(payment);
        }
        (PaymentState::Paid, 0..2) if provider == Provider::Antom && world.payments[payment].refunds.is_empty() => {
            world.refuse(payment, true);
        }
        (PaymentState::Paid | PaymentState::PartlyRefunded, chance) if left > 1 => {
            let minor = if chance % 2 == 0 { left } else { left / 2 };
            let (announced, succeeds) = (world.rng.random(), world.rng.random_bool(0.8));
            world.refund(payment, minor, announced, succeeds).await;
        }
        _ => {}
    }
    for _ in 0..[0, 1, 1, 1, 2][world.rng.random_range(0..5)] {
        world.notify(payment).await;
    }
}

fn outage(world: &mut SimulatedWorld) {
    let provider = if world.rng.random() { Provider::Antom } else { Provider::Omise };
    let fault = match world.rng.random_range(0..6) {
        0 => Fault::Throttle { retry_after: Some(Duration::from_secs(20)) },
        1 => Fault::Close,
        2 => Fault::HalfAnswer,
        3 => Fault::OtherPayment,
        4 => Fault::HtmlPage,
        _ => Fault::Down { status: 503 },
    };
    let times = world.rng.random_range(1..12);
    world.simulator.faults().set_next(provider, fault, times).expect("a fault of both");
}

/// Ends the story: all is mended, time passes, and nothing new happens. Then the operator replays and releases what
/// there is.
pub(crate) async fn finish(world: &mut SimulatedWorld) {
    for provider in [Provider::Antom, Provider::Omise] {
        world.simulator.faults().clear(provider);
    }
    world.next_ahead = SignedDuration::ZERO;
    world.restart().await;
    for payment in 0..world.payments.len() {
        if matches!(world.payments[payment].now().state, PaymentState::Awaiting | PaymentState::Authorized) {
            world.refuse(payment, true);
        }
    }
    for order in 0..world.orders.len() {
        world.register(order).await;
    }
    world.finish_consents().await;
    // A notification takes effect soon, and not by the schedule's next look: a worker that was just started may have no
    // share of its account yet, and then a hint goes once round the queue.
    let mut notified = Vec::new();
    for payment in 0..world.payments.len() {
        if names_payment(&world.payments[payment]) && world.rng.random() && world.notify(payment).await {
            notified.push(payment);
        }
    }
    world.quiet().await;
    for payment in notified {
        for _ in 0..SOON {
            if world.is_wrong(payment).await.is_some() {
                world.time.pass(SignedDuration::from_secs(1));
                world.quiet().await;
            }
        }
        let wrong = world.is_wrong(payment).await;
        world.expect(wrong.is_none(), || format!("{} was notified and is not known", world.payments[payment].key));
    }
    world.drain().await;
    world.replay().await;
    world.drain().await;
}

/// The operator releases every order, until nothing is objected to.
pub(crate) async fn release_all(world: &mut SimulatedWorld) {
    for _ in 0..8 {
        let mut any = false;
        for order in 0..world.orders.len() {
            any |= world.release(order).await;
        }
        if !any {
            return;
        }
        world.drain().await;
    }
}

//! The cases that were found by hand: each must be met whatever the seed.

use jiff::SignedDuration;
use payhook_schema::{PaymentState, Provider::Antom};

use crate::story::release_all;
use crate::world::{HOUR, Shape, SimulatedWorld};
use crate::{holds, plain, seeds};

const WHOLE: &str = "100.00 THB";

/// An order with this attempt, paid and settled.
async fn paid(world: &mut SimulatedWorld, amount: &str) -> usize {
    let order = world.new_order(WHOLE);
    attempt_paid(world, order, amount).await
}

/// Another attempt at the same order, paid and settled.
async fn paid_again(world: &mut SimulatedWorld, of: usize, amount: &str) -> usize {
    let order = world.payments[of].order;
    attempt_paid(world, order, amount).await
}

async fn attempt_paid(world: &mut SimulatedWorld, order: usize, amount: &str) -> usize {
    let payment = world.attempt(order, Antom, amount);
    world.register(order).await;
    world.pay(payment);
    world.notify(payment).await;
    world.drain().await;
    payment
}

#[test]
fn a_second_payment_of_a_held_order_is_an_objection_of_its_own() {
    holds(seeds(4), plain, async |world| {
        let first = paid(world, "99.00 THB").await;
        paid_again(world, first, WHOLE).await;
    });
}

#[test]
fn refunds_that_cannot_be_are_objected_to_while_an_order_is_held() {
    let unlisted = |_| Shape { refunds_unlisted: true, ..Shape::default() };
    for odd in ["150.00 THB", "10.00 SGD"] {
        holds(seeds(2), unlisted, async |world| {
            let first = paid(world, "99.00 THB").await;
            world.refund_oddly(first, odd).await;
            world.drain().await;
        });
    }
    holds(seeds(2), plain, async |world| {
        let (first, other) = (paid(world, "99.00 THB").await, paid(world, WHOLE).await);
        world.refund_of_another(other, first, 1000).await;
        // Booked where it was announced, before the payment it is of is asked about.
        world.drain().await;
        world.notify(first).await;
        world.refresh(0).await;
        world.drain().await;
    });
}

#[test]
fn money_under_another_account_is_objected_to_while_an_order_is_held() {
    holds(seeds(2), plain, async |world| {
        let first = paid(world, "99.00 THB").await;
        world.notify_under(first, "other").await;
        world.drain().await;
    });
}

#[test]
fn a_release_ships_nothing_twice() {
    holds(seeds(4), plain, async |world| {
        let first = paid(world, WHOLE).await;
        paid_again(world, first, WHOLE).await;
        world.refund(first, 10_000, false, true).await;
        world.notify(first).await;
        world.drain().await;
        release_all(world).await;
    });
}

#[test]
fn a_worker_killed_while_its_clock_was_ahead_delays_nobody_by_more_than_a_lease() {
    holds(seeds(24), plain, async |world| {
        world.next_ahead = HOUR;
        world.restart().await;
        let order = world.new_order(WHOLE);
        let payment = world.attempt(order, Antom, WHOLE);
        world.register(order).await;
        world.pay(payment);
        let seed = u32::try_from(world.seed).expect("few");
        world.dies_in(seed * 2, seed % 2 == 0);
        world.next_ahead = SignedDuration::ZERO;
        // Retries wait on the queue, too: this one's first question comes to nothing.
        let down = payhook_simulator::Fault::Down { status: 503 };
        world.simulator.faults().set_next(Antom, down, 1).expect("a status");
        world.notify(payment).await;
        world.run(4000).await;
        world.restart().await;
        world.drain_within(SignedDuration::from_mins(6)).await;
    });
}

#[test]
fn a_change_that_nobody_notified_of_is_found() {
    for (after, cancelled) in [(24, false), (7 * 24, true), (100 * 24, false)] {
        holds(seeds(2), plain, async |world| {
            let payment = paid(world, WHOLE).await;
            world.time.pass(HOUR * after);
            world.quiet().await;
            if cancelled {
                world.refuse(payment, true);
            } else {
                world.refund(payment, 4000, false, true).await;
            }
            world.drain().await;
        });
    }
}

#[test]
fn one_answer_is_enough() {
    const ATTEMPTS: usize = 30;
    holds(seeds(3), plain, async |world| {
        let order = world.new_order(WHOLE);
        let payments: Vec<usize> = (0..ATTEMPTS).map(|_| world.attempt(order, Antom, WHOLE)).collect();
        world.register(order).await;
        for &payment in &payments {
            world.refuse(payment, false);
        }
        for &payment in &payments {
            world.notify(payment).await;
        }
        world.quiet().await;
        for &payment in &payments {
            let wrong = world.is_wrong(payment).await;
            world.expect(wrong.is_none(), || format!("{} was notified and is not known", world.payments[payment].key));
        }
        let asked = world.asked();
        world.expect(asked * 10 <= ATTEMPTS * 11, || format!("{asked} questions for {ATTEMPTS} hints"));
        world.run(40_000).await;
        let before = world.asked();
        world.refresh(order).await;
        world.quiet().await;
        let asked = world.asked() - before;
        world.expect(asked <= ATTEMPTS, || format!("{asked} questions for a refresh of {ATTEMPTS} payments"));
        let failed = payments.iter().all(|&payment| world.payments[payment].now().state == PaymentState::Failed);
        assert!(failed, "the story says so");
    });
}

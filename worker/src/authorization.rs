//! A customer's consent to be charged: from notifications, and from calls of ours that exchange a code or refresh a token.

use std::sync::Arc;

use crate::ask::gate::Gate;
use crate::context::Context;
use tended::Tended;

mod decide;
pub(crate) mod learn;
mod tend;
mod tended;

pub(crate) struct Authorizations {
    context: Arc<Context>,
    gate: Arc<Gate>,
    tended: Tended,
}

impl Authorizations {
    pub(crate) fn new(context: Arc<Context>, gate: Arc<Gate>) -> Self {
        Self { context, gate, tended: Tended::default() }
    }
}

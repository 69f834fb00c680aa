//! A customer's consent to be charged: from notifications, and from calls of ours that exchange a code or refresh a
//! token.

use std::sync::Arc;

use crate::ask::gate::ProviderGate;
use crate::context::Context;
use tended::Tended;

mod decide;
pub(crate) mod learn;
mod tend;
mod tended;

pub(crate) struct AuthorizationTasks {
    context: Arc<Context>,
    gate: Arc<ProviderGate>,
    tended: Tended,
}

impl AuthorizationTasks {
    pub(crate) fn new(context: Arc<Context>, gate: Arc<ProviderGate>) -> Self {
        Self { context, gate, tended: Tended::default() }
    }
}

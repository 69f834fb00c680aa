//! Remembers: orders, payments, notifications, the timeline, the order events and the dead letters. One contract,
//! [`Store`], cut at whole units of work; two backends keep it: [`postgres`] and [`sqlite`].

mod contract;

pub use contract::{
    Backlog, Change, DeadLetter, DeadLetterFilter, FeedEvent, Found, OrderFilter, PaymentCheck, Registered, Settled,
    Settlement, Store, StoreError, TimelineEntry,
};

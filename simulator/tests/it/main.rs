//! The simulated providers and payhook's own client and `verify`, against each other over real HTTP.

mod asking;
mod authorizing;
mod control;
mod events;
mod listing;
mod notifying;
mod refunding;
mod samples;
mod world;

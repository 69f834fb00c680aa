//! The simulated providers and payhook's own client and `verify`, against each other over real HTTP.

mod asking;
mod control;
mod events;
mod gateway;
mod notifying;
mod samples;
mod world;

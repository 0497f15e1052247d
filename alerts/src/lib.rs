//! Rules, alert states, notices, channels; only courier.rs touches the network.

pub mod channel;
pub mod courier;
pub mod guard;
pub mod notify;
pub mod reference;
pub mod rule;
pub mod secret;
pub mod signing;
pub mod state;

//! Rules, alert states, notices, channels; only courier.rs touches the network.

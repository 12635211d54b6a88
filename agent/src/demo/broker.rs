//! The demo's own MQTT broker, inside the process: rumqttd on two loopback ports.
//!
//! rumqttd speaks one MQTT version per port. The agent uses 5; the port that people are told speaks 3.1.1, because
//! that is what `mosquitto_sub` and most tools speak unless told otherwise. Both see the same messages.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use rumqttd::{ConnectionSettings, RouterConfig, ServerSettings};

/// The port that MQTT tools look at first.
const USUAL_PORT: u16 = 1883;

/// Clients that may be connected at once: the agent, and whoever looks.
const CONNECTIONS_MAX: usize = 64;

/// Messages of one topic that the broker keeps in memory for slow clients: segments and their size in bytes.
const SEGMENTS_MAX: usize = 10;
const SEGMENT_BYTES_MAX: usize = 1024 * 1024;

/// Where the broker listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// For people: MQTT 3.1.1.
    pub(crate) v311: u16,
    /// For the agent: MQTT 5.
    pub(crate) v5: u16,
}

/// Starts the broker on threads of its own, where it stays until the process ends.
///
/// # Errors
/// There is no free port or no thread.
pub(crate) fn start() -> io::Result<Ports> {
    let (usual, v311) = match TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)) {
        Ok(listener) => (Some(listener), USUAL_PORT),
        Err(_) => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let port = listener.local_addr()?.port();
            (Some(listener), port)
        }
    };
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let v5 = other.local_addr()?.port();
    // rumqttd opens its ports itself, so ours are closed in the same breath.
    drop((usual, other));
    let config = rumqttd::Config {
        router: RouterConfig {
            max_connections: CONNECTIONS_MAX,
            max_outgoing_packet_count: 200,
            max_segment_size: SEGMENT_BYTES_MAX,
            max_segment_count: SEGMENTS_MAX,
            ..RouterConfig::default()
        },
        v4: Some(server("mqtt-3.1.1", v311)),
        v5: Some(server("mqtt-5", v5)),
        ..rumqttd::Config::default()
    };
    let mut broker = rumqttd::Broker::new(config);
    std::thread::Builder::new().name("broker".to_owned()).spawn(move || {
        if let Err(error) = broker.start() {
            tracing::warn!(code = "demo.broker", "The demo's broker ended: {error}. Only MQTT is affected.");
        }
    })?;
    Ok(Ports { v311, v5 })
}

fn server(name: &str, port: u16) -> HashMap<String, ServerSettings> {
    let settings = ServerSettings {
        name: name.to_owned(),
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: 256 * 1024,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    HashMap::from([(name.to_owned(), settings)])
}

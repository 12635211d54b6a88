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
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let v311 = usual.local_addr()?.port();
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

#[cfg(test)]
mod test {
    use std::time::Duration;

    use rumqttc::v5;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_agent_retains_in_mqtt_5_is_found_later_in_mqtt_3() {
        let ports = start().unwrap();
        let options = v5::MqttOptions::new("agent", "127.0.0.1", ports.v5);
        let (publisher, mut wheel) = v5::AsyncClient::new(options, 4);
        publisher.try_publish("fab/demo/mill/state", v5::mqttbytes::QoS::AtLeastOnce, true, "{}").unwrap();
        let published = async {
            loop {
                match wheel.poll().await {
                    Ok(v5::Event::Incoming(v5::mqttbytes::v5::Packet::PubAck(_))) => return,
                    Ok(_) => {}
                    // The broker's thread may not listen yet.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        let _ =
                            publisher.try_publish("fab/demo/mill/state", v5::mqttbytes::QoS::AtLeastOnce, true, "{}");
                    }
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), published).await.unwrap();
        let (subscriber, mut wheel) =
            rumqttc::AsyncClient::new(rumqttc::MqttOptions::new("person", "127.0.0.1", ports.v311), 4);
        subscriber.try_subscribe("fab/#", rumqttc::QoS::AtLeastOnce).unwrap();
        let heard = async {
            loop {
                if let Ok(rumqttc::Event::Incoming(rumqttc::Packet::Publish(message))) = wheel.poll().await {
                    return message.topic;
                }
            }
        };
        let topic = tokio::time::timeout(Duration::from_secs(20), heard).await.unwrap();
        assert_eq!(topic, "fab/demo/mill/state");
    }
}

//! One connection to a broker, in MQTT 5 or 3.1.1; the version is a value. Lives from a connect to its loss.
//!
//! rumqttc is used for one connection at a time and thrown away after it: what it queues for the next one it may
//! silently forget (it does, when the broker comes back without the session), while our outbox does not. Publishing
//! never waits: a full queue is an answer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::{Outgoing, v5};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::settings::{Ready, Version};
use super::uplink::Publication;

/// Publications handed to the client and not yet on the wire. Few, so that what waits here is never old.
const REQUESTS_MAX: usize = 16;

/// Publications on the wire and not yet acknowledged. The client's own tables are this large; its default of 65,535
/// costs megabytes.
const IN_FLIGHT_MAX: u16 = 64;

/// Things heard and not yet read.
const HEARD_MAX: usize = 64;

/// Longest packet taken from a broker. Nothing is subscribed to, so its packets are short.
const PACKET_IN_MAX: usize = 64 * 1024;

/// Longest packet sent: a snapshot has some kilobytes.
const PACKET_OUT_MAX: usize = 256 * 1024;

/// The broker is asked for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A connection on which nothing at all happens for this long is dead: a ping is due every [`KEEP_ALIVE`]. The
/// client itself would wait for ever on a broker that does not read.
const SILENCE_MAX: Duration = Duration::from_secs(25);

/// Longest time from opening to the broker's welcome.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// What happened on the connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// The broker took us in.
    Connected,
    /// Some publication went out, so there is room for another.
    Sent,
    /// The broker has an event; by its key.
    Acknowledged(u64),
    /// The connection is over.
    Lost(Loss),
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Stable code: `mqtt.unreachable`, `mqtt.refused` or `mqtt.tls`.
    pub(super) code: &'static str,
    /// What the library or the broker said.
    pub(super) because: String,
}

enum Client {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

/// The client's other half: it moves only while somebody turns it.
enum Wheel {
    V5(Box<v5::EventLoop>),
    V311(Box<rumqttc::EventLoop>),
}

/// What the task that turns the client's wheel reports; packet numbers are not yet ours.
#[derive(Debug)]
enum Turn {
    Connected,
    Sent(u16),
    Acknowledged(u16),
    Other,
    Lost(Loss),
}

/// One connection to a broker.
pub(super) struct Wire {
    client: Client,
    turns: mpsc::Receiver<Turn>,
    /// Acknowledged publications in the order they were handed over, until each gets its packet number.
    unnumbered: VecDeque<Option<u64>>,
    numbered: HashMap<u16, Option<u64>>,
    // Ends the task when the connection is dropped.
    _tasks: JoinSet<()>,
}

impl Wire {
    /// Starts to connect. `will` is what the broker says, retained, when it hears nothing from us any more.
    pub(super) fn open(broker: &Ready, will_topic: &str, will: &str) -> Self {
        let (reports, turns) = mpsc::channel(HEARD_MAX);
        let mut tasks = JoinSet::new();
        let (client, wheel) = match broker.version {
            Version::V5 => {
                let (client, wheel) = v5::AsyncClient::new(options_v5(broker, will_topic, will), REQUESTS_MAX);
                (Client::V5(client), Wheel::V5(Box::new(wheel)))
            }
            Version::V311 => {
                let (client, wheel) = rumqttc::AsyncClient::new(options_v311(broker, will_topic, will), REQUESTS_MAX);
                (Client::V311(client), Wheel::V311(Box::new(wheel)))
            }
        };
        tasks.spawn(turn(wheel, reports));
        Self { client, turns, unnumbered: VecDeque::new(), numbered: HashMap::new(), _tasks: tasks }
    }

    /// Hands over a publication; gives it back when there is no room at the moment. Never waits.
    pub(super) fn try_publish(&mut self, publication: Publication) -> Result<(), Publication> {
        let (topic, payload) = (publication.topic.clone(), publication.payload.clone());
        let taken = match &self.client {
            Client::V5(client) => {
                let qos = if publication.acknowledged {
                    v5::mqttbytes::QoS::AtLeastOnce
                } else {
                    v5::mqttbytes::QoS::AtMostOnce
                };
                client.try_publish(topic, qos, publication.retain, payload).is_ok()
            }
            Client::V311(client) => {
                let qos = if publication.acknowledged { rumqttc::QoS::AtLeastOnce } else { rumqttc::QoS::AtMostOnce };
                client.try_publish(topic, qos, publication.retain, payload).is_ok()
            }
        };
        if !taken {
            return Err(publication);
        }
        if publication.acknowledged {
            self.unnumbered.push_back(publication.event);
        }
        Ok(())
    }

    /// Publications the broker has not yet acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.unnumbered.len() + self.numbered.len()
    }

    /// Says goodbye, so that the broker does not publish the Last Will.
    pub(super) fn disconnect(&self) {
        let _ = match &self.client {
            Client::V5(client) => client.try_disconnect().map_err(drop),
            Client::V311(client) => client.try_disconnect().map_err(drop),
        };
    }

    /// What happens next. Safe to cancel.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            match self.turns.recv().await {
                Some(Turn::Connected) => return Heard::Connected,
                Some(Turn::Sent(0)) => return Heard::Sent,
                Some(Turn::Sent(number)) => {
                    if let Some(event) = self.unnumbered.pop_front() {
                        self.numbered.insert(number, event);
                    }
                    return Heard::Sent;
                }
                Some(Turn::Acknowledged(number)) => match self.numbered.remove(&number) {
                    Some(Some(event)) => return Heard::Acknowledged(event),
                    _ => return Heard::Sent,
                },
                Some(Turn::Other) => {}
                Some(Turn::Lost(loss)) => return Heard::Lost(loss),
                None => return Heard::Lost(Loss::unreachable("the connection's task ended".to_owned())),
            }
        }
    }
}

/// Turns the client's wheel until the connection is over. It waits for its reports to be read, but nobody who reads
/// them waits for it: publishing never does.
async fn turn(mut wheel: Wheel, reports: mpsc::Sender<Turn>) {
    let mut patience = CONNECT_MAX;
    loop {
        let turned = async {
            match &mut wheel {
                Wheel::V5(wheel) => turn_v5(wheel).await,
                Wheel::V311(wheel) => turn_v311(wheel).await,
            }
        };
        let turn = match timeout(patience, turned).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(loss)) => Turn::Lost(loss),
            Err(_) => Turn::Lost(Loss::unreachable(format!("no sign of life for {} s", patience.as_secs()))),
        };
        patience = SILENCE_MAX;
        let over = matches!(turn, Turn::Lost(_));
        if reports.send(turn).await.is_err() || over {
            return;
        }
    }
}

async fn turn_v5(wire: &mut v5::EventLoop) -> Result<Turn, Loss> {
    use v5::mqttbytes::v5::{Packet, PubAckReason};
    match wire.poll().await {
        Ok(v5::Event::Incoming(Packet::ConnAck(_))) => Ok(Turn::Connected),
        Ok(v5::Event::Incoming(Packet::PubAck(ack))) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(Turn::Acknowledged(ack.pkid)),
            reason => Err(Loss { code: "mqtt.refused", because: format!("the broker refused a message: {reason:?}") }),
        },
        Ok(v5::Event::Incoming(Packet::Disconnect(disconnect))) => {
            Err(Loss::unreachable(format!("the broker ended the connection: {:?}", disconnect.reason_code)))
        }
        Ok(v5::Event::Outgoing(Outgoing::Publish(number))) => Ok(Turn::Sent(number)),
        Ok(_) => Ok(Turn::Other),
        Err(v5::ConnectionError::ConnectionRefused(code)) => Err(Loss::refused(format!("{code:?}"))),
        Err(v5::ConnectionError::Tls(error)) => Err(Loss::tls(error.to_string())),
        Err(error) => Err(Loss::unreachable(error.to_string())),
    }
}

async fn turn_v311(wire: &mut rumqttc::EventLoop) -> Result<Turn, Loss> {
    use rumqttc::{ConnectionError, Event, Packet};
    match wire.poll().await {
        Ok(Event::Incoming(Packet::ConnAck(_))) => Ok(Turn::Connected),
        Ok(Event::Incoming(Packet::PubAck(ack))) => Ok(Turn::Acknowledged(ack.pkid)),
        Ok(Event::Outgoing(Outgoing::Publish(number))) => Ok(Turn::Sent(number)),
        Ok(_) => Ok(Turn::Other),
        Err(ConnectionError::ConnectionRefused(code)) => Err(Loss::refused(format!("{code:?}"))),
        Err(ConnectionError::Tls(error)) => Err(Loss::tls(error.to_string())),
        Err(error) => Err(Loss::unreachable(error.to_string())),
    }
}

impl Loss {
    fn unreachable(because: String) -> Self {
        Self { code: "mqtt.unreachable", because }
    }

    fn refused(because: String) -> Self {
        Self { code: "mqtt.refused", because }
    }

    fn tls(because: String) -> Self {
        Self { code: "mqtt.tls", because }
    }

    /// What to do about it.
    pub(super) fn to_do(&self) -> &'static str {
        match self.code {
            "mqtt.refused" => "Check the user name, the password and the broker's access rules.",
            "mqtt.tls" => "Check the CA certificate, the broker's name in its certificate, and the clock.",
            _ => "Check the broker's address, and whether it runs.",
        }
    }
}

fn options_v5(broker: &Ready, will_topic: &str, will: &str) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(&broker.client_id, &broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(true).set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
    let mut properties = v5::mqttbytes::v5::ConnectProperties::new();
    properties.max_packet_size = u32::try_from(PACKET_IN_MAX).ok();
    options.set_connect_properties(properties);
    let will = v5::mqttbytes::v5::LastWill::new(will_topic, will, v5::mqttbytes::QoS::AtLeastOnce, true, None);
    options.set_last_will(will);
    if let Some((user, password)) = &broker.credentials {
        options.set_credentials(user, password);
    }
    if let Some(tls) = &broker.tls {
        options.set_transport(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.clone())));
    }
    options
}

fn options_v311(broker: &Ready, will_topic: &str, will: &str) -> rumqttc::MqttOptions {
    let mut options = rumqttc::MqttOptions::new(&broker.client_id, &broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_session(true).set_inflight(IN_FLIGHT_MAX);
    options.set_max_packet_size(PACKET_IN_MAX, PACKET_OUT_MAX);
    options.set_last_will(rumqttc::LastWill::new(will_topic, will, rumqttc::QoS::AtLeastOnce, true));
    if let Some((user, password)) = &broker.credentials {
        options.set_credentials(user, password);
    }
    if let Some(tls) = &broker.tls {
        options.set_transport(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.clone())));
    }
    options
}

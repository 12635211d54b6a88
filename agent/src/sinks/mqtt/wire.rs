//! One connection to a broker, in MQTT 5 or 3.1.1; the version is a value. Lives from a connect to its loss.
//!
//! rumqttc is used for one connection at a time and thrown away after it: what it queues for the next one it may
//! silently forget (it does, when the broker comes back without the session), while our outbox does not. Publishing
//! never waits: whoever publishes asks first whether there is room.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::{Outgoing, v5};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::course::{Limits, Terms};
use super::loss::{Kind, Loss};
use super::refusals::Verdict;
use super::settings::{Ready, Version};
use super::uplink::{Publication, Token};

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

/// The broker is asked for a sign of life this often, unless it wants it more often.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A ping is due every keep-alive. A connection on which nothing at all happens for twice that and this is dead: the
/// client itself would wait for ever on a broker that does not read.
const SILENCE: Duration = Duration::from_secs(5);

/// Longest time from opening to the broker's welcome.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// What happened on the connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// The broker took us in, and allows this.
    Connected(Limits),
    /// A publication went out, so there is room for another. With it, if the broker will not answer it.
    Sent(Option<Token>),
    /// The broker answered a publication.
    Answered(Token, Verdict),
    /// The connection is over.
    Lost(Loss),
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
    /// With how often the broker wants a sign of life.
    Connected(Limits, Duration),
    Sent(u16),
    Answered(u16, Verdict),
    Other,
}

/// One connection to a broker.
pub(super) struct Wire {
    client: Client,
    turns: mpsc::Receiver<Result<Turn, Loss>>,
    /// Publications in the order in which they were handed over, until each is on the wire; and whether it is acknowledged.
    unsent: VecDeque<(Token, bool)>,
    numbered: HashMap<u16, Token>,
    // Ends the task when the connection is dropped.
    _tasks: JoinSet<()>,
}

impl Wire {
    /// Starts to connect. `will` is what the broker says, retained, when it hears nothing from us any more.
    pub(super) fn open(broker: &Ready, terms: Terms, will_topic: &str, will: &str) -> Self {
        let (reports, turns) = mpsc::channel(HEARD_MAX);
        let mut tasks = JoinSet::new();
        // A little more room than is used: the goodbye has a place, too.
        let room = REQUESTS_MAX + 2;
        let (client, wheel) = match broker.version {
            Version::V5 => {
                let (client, wheel) = v5::AsyncClient::new(options_v5(broker, terms, will_topic, will), room);
                (Client::V5(client), Wheel::V5(Box::new(wheel)))
            }
            Version::V311 => {
                let (client, wheel) = rumqttc::AsyncClient::new(options_v311(broker, terms, will_topic, will), room);
                (Client::V311(client), Wheel::V311(Box::new(wheel)))
            }
        };
        tasks.spawn(turn(wheel, reports));
        Self { client, turns, unsent: VecDeque::new(), numbered: HashMap::new(), _tasks: tasks }
    }

    /// Whether another publication can be handed over.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.len() < REQUESTS_MAX
    }

    /// Hands over a publication. Never waits.
    pub(super) fn publish(&mut self, publication: Publication) {
        let Publication { token, topic, payload, retain, acknowledged } = publication;
        let taken = match &self.client {
            Client::V5(client) => {
                let qos = if acknowledged { v5::mqttbytes::QoS::AtLeastOnce } else { v5::mqttbytes::QoS::AtMostOnce };
                client.try_publish(topic, qos, retain, payload).is_ok()
            }
            Client::V311(client) => {
                let qos = if acknowledged { rumqttc::QoS::AtLeastOnce } else { rumqttc::QoS::AtMostOnce };
                client.try_publish(topic, qos, retain, payload).is_ok()
            }
        };
        // It is not taken where the connection's task has ended: that is heard as a loss next.
        if taken {
            self.unsent.push_back((token, acknowledged));
        }
    }

    /// Publications the broker has not yet acknowledged, and those that are not yet on the wire.
    pub(super) fn unanswered(&self) -> usize {
        self.unsent.len() + self.numbered.len()
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
                Some(Ok(Turn::Connected(limits, _))) => return Heard::Connected(limits),
                Some(Ok(Turn::Sent(number))) => match self.unsent.pop_front() {
                    Some((token, true)) => {
                        self.numbered.insert(number, token);
                        return Heard::Sent(None);
                    }
                    Some((token, false)) => return Heard::Sent(Some(token)),
                    None => {}
                },
                Some(Ok(Turn::Answered(number, verdict))) => {
                    if let Some(token) = self.numbered.remove(&number) {
                        return Heard::Answered(token, verdict);
                    }
                }
                Some(Ok(Turn::Other)) => {}
                Some(Err(loss)) => return Heard::Lost(loss),
                None => return Heard::Lost(Loss::new(Kind::Unreachable, "the connection's task ended")),
            }
        }
    }
}

/// Turns the client's wheel until the connection is over. It waits for its reports to be read, but nobody who reads
/// them waits for it: publishing never does.
async fn turn(mut wheel: Wheel, reports: mpsc::Sender<Result<Turn, Loss>>) {
    let mut patience = CONNECT_MAX;
    loop {
        let turned = timeout(patience, wheel.turn()).await;
        let turn = turned.unwrap_or_else(|_| {
            Err(Loss::new(Kind::Silent, format!("it gave no sign of life for {} s", patience.as_secs())))
        });
        if let Ok(Turn::Connected(_, keep_alive)) = &turn {
            patience = *keep_alive * 2 + SILENCE;
        }
        if turn.is_err() {
            // What was heard before the end in the same breath counts.
            for heard in wheel.rest() {
                if reports.send(Ok(heard)).await.is_err() {
                    return;
                }
            }
        }
        let over = turn.is_err();
        if reports.send(turn).await.is_err() || over {
            return;
        }
    }
}

impl Wheel {
    async fn turn(&mut self) -> Result<Turn, Loss> {
        match self {
            Self::V5(wheel) => {
                let event = wheel.poll().await.map_err(Loss::of_v5)?;
                let told = wheel.options.keep_alive();
                let turn = of_v5(&event, told);
                if matches!(turn, Turn::Connected(..)) && (told.is_zero() || told > KEEP_ALIVE) {
                    // A broker that wants none, or seldom one: pings tell us whether it is there. The client would send
                    // them without a pause where none are wanted.
                    wheel.options.set_keep_alive(KEEP_ALIVE);
                }
                Ok(turn)
            }
            Self::V311(wheel) => Ok(of_v311(&wheel.poll().await.map_err(Loss::of_v311)?)),
        }
    }

    /// What was heard and not yet given.
    fn rest(&mut self) -> Vec<Turn> {
        match self {
            Self::V5(wheel) => wheel.state.events.drain(..).map(|event| of_v5(&event, KEEP_ALIVE)).collect(),
            Self::V311(wheel) => wheel.state.events.drain(..).map(|event| of_v311(&event)).collect(),
        }
    }
}

fn of_v5(event: &v5::Event, keep_alive: Duration) -> Turn {
    use v5::mqttbytes::v5::{Packet, PubAckReason};
    match event {
        v5::Event::Incoming(Packet::ConnAck(welcome)) => {
            let said = welcome.properties.as_ref();
            let packet_bytes_max =
                said.and_then(|said| said.max_packet_size).map_or(PACKET_OUT_MAX, |max| max as usize);
            let limits = Limits {
                packet_bytes_max: packet_bytes_max.min(PACKET_OUT_MAX),
                receive_max: said.and_then(|said| said.receive_max).unwrap_or(u16::MAX),
                retain: said.and_then(|said| said.retain_available) != Some(0),
                acknowledge: said.and_then(|said| said.max_qos) != Some(0),
            };
            Turn::Connected(limits, if keep_alive.is_zero() { KEEP_ALIVE } else { keep_alive })
        }
        v5::Event::Incoming(Packet::PubAck(ack)) => {
            let verdict = match ack.reason {
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Verdict::Taken,
                PubAckReason::QuotaExceeded | PubAckReason::PacketIdentifierInUse => Verdict::Full,
                PubAckReason::UnspecifiedError
                | PubAckReason::ImplementationSpecificError
                | PubAckReason::NotAuthorized
                | PubAckReason::TopicNameInvalid
                | PubAckReason::PayloadFormatInvalid => Verdict::Refused,
            };
            Turn::Answered(ack.pkid, verdict)
        }
        v5::Event::Outgoing(Outgoing::Publish(number)) => Turn::Sent(*number),
        _ => Turn::Other,
    }
}

fn of_v311(event: &rumqttc::Event) -> Turn {
    use rumqttc::{Event, Packet};
    match event {
        Event::Incoming(Packet::ConnAck(_)) => {
            // MQTT 3.1.1 says nothing of what it allows.
            let limits =
                Limits { packet_bytes_max: PACKET_OUT_MAX, receive_max: u16::MAX, retain: true, acknowledge: true };
            Turn::Connected(limits, KEEP_ALIVE)
        }
        Event::Incoming(Packet::PubAck(ack)) => Turn::Answered(ack.pkid, Verdict::Taken),
        Event::Outgoing(Outgoing::Publish(number)) => Turn::Sent(*number),
        _ => Turn::Other,
    }
}

fn name(broker: &Ready, terms: Terms) -> &str {
    let short = broker.short_id.as_deref().filter(|_| terms.short_name);
    short.unwrap_or(&broker.client_id)
}

fn options_v5(broker: &Ready, terms: Terms, will_topic: &str, will: &str) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(name(broker, terms), &broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_start(true).set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
    let mut properties = v5::mqttbytes::v5::ConnectProperties::new();
    properties.max_packet_size = u32::try_from(PACKET_IN_MAX).ok();
    options.set_connect_properties(properties);
    let qos = if terms.acknowledge { v5::mqttbytes::QoS::AtLeastOnce } else { v5::mqttbytes::QoS::AtMostOnce };
    let will = v5::mqttbytes::v5::LastWill::new(will_topic, will, qos, terms.retain, None);
    options.set_last_will(will);
    if let Some((user, password)) = &broker.credentials {
        options.set_credentials(user, password);
    }
    if let Some(tls) = &broker.tls {
        options.set_transport(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.clone())));
    }
    options
}

fn options_v311(broker: &Ready, terms: Terms, will_topic: &str, will: &str) -> rumqttc::MqttOptions {
    let mut options = rumqttc::MqttOptions::new(name(broker, terms), &broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE).set_clean_session(true).set_inflight(IN_FLIGHT_MAX);
    options.set_max_packet_size(PACKET_IN_MAX, PACKET_OUT_MAX);
    let qos = if terms.acknowledge { rumqttc::QoS::AtLeastOnce } else { rumqttc::QoS::AtMostOnce };
    options.set_last_will(rumqttc::LastWill::new(will_topic, will, qos, terms.retain));
    if let Some((user, password)) = &broker.credentials {
        options.set_credentials(user, password);
    }
    if let Some(tls) = &broker.tls {
        options.set_transport(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.clone())));
    }
    options
}

//! Why a connection is over: one kind for each thing that can be done about it. Pure.

use std::io;

use rumqttc::v5;

/// What kind of end it was. Decisions hang on this, never on a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was no connection: address, network, nobody listens.
    Unreachable,
    /// It says nothing any more, or acknowledges nothing.
    Silent,
    /// TLS does not come about.
    Tls,
    /// What it says is no MQTT that we know.
    Foreign,
    /// It does not let us in: user, password, access rules.
    NotLetIn,
    /// It does not take this client's name.
    Name,
    /// It does not speak this version.
    Version,
    /// It takes nobody now.
    Busy,
    /// It sends us to another broker.
    Moved,
    /// It keeps no message for those who come later.
    NoRetain,
    /// It takes no message that it would have to acknowledge.
    NoAcknowledge,
    /// Another client of the same name came.
    TakenOver,
    /// It ended the connection, with nothing unanswered, soon after it took us in, and more than once.
    Dropped,
    /// It ended the connection because of a message, and says so.
    Message,
    /// It closed the connection without a word.
    Closed,
    /// It ended the connection for a reason of its own.
    Ended,
}

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// What kind of end it was.
    pub(super) kind: Kind,
    /// What the library or the broker said.
    pub(super) because: String,
}

impl Loss {
    pub(super) fn new(kind: Kind, because: impl Into<String>) -> Self {
        Self { kind, because: because.into() }
    }

    fn closed() -> Self {
        Self::new(Kind::Closed, "it closed the connection without a word")
    }

    /// What happened, for people. `name` is ours to the broker.
    pub(super) fn happened(&self, name: &str) -> String {
        match self.kind {
            Kind::Dropped => format!(
                "it closes the connection soon after it has taken the agent in, and nothing was unanswered: another \
                 client may have the name {name}, too"
            ),
            Kind::TakenOver => format!("another client of the name {name} took over ({})", self.because),
            _ => self.because.clone(),
        }
    }

    /// Stable code.
    pub(super) fn code(&self) -> &'static str {
        match self.kind {
            Kind::Unreachable | Kind::Foreign => "mqtt.unreachable",
            Kind::Silent => "mqtt.silent",
            Kind::Tls => "mqtt.tls",
            Kind::NotLetIn | Kind::Name | Kind::Version | Kind::Busy | Kind::Moved => "mqtt.refused",
            Kind::NoRetain => "mqtt.no_retain",
            Kind::NoAcknowledge => "mqtt.no_acknowledge",
            Kind::TakenOver => "mqtt.taken_over",
            Kind::Dropped => "mqtt.dropped",
            Kind::Message | Kind::Closed | Kind::Ended => "mqtt.closed",
        }
    }

    /// What to do about it.
    pub(super) fn to_do(&self) -> &'static str {
        match self.kind {
            Kind::Unreachable => "Check the broker's address, and whether it runs.",
            Kind::Silent => "Check the network between here and the broker, and the broker's load.",
            Kind::Foreign => "Check the port and the MQTT version: what answers there does not speak this one.",
            Kind::Tls => "Check the CA certificate, the broker's name in its certificate, and the clock.",
            Kind::NotLetIn => "Check the user name, the password and the broker's access rules.",
            Kind::Name => "Set another mqtt.client_id.",
            Kind::Version => "Set mqtt.version to \"3.1.1\".",
            Kind::Busy | Kind::Ended => "Nothing; if it lasts, look into the broker's log.",
            Kind::Moved => "Write the broker's new address into the configuration.",
            Kind::NoRetain | Kind::NoAcknowledge => "Nothing; allow it in the broker's configuration if you can.",
            Kind::TakenOver => {
                "Give each agent a name of its own: mqtt.client_id, or agent.id where that is the same, too."
            }
            Kind::Dropped => {
                "See whether another client has the same name (mqtt.client_id), and look into the broker's log."
            }
            Kind::Message | Kind::Closed => "Look into the broker's log and its access rules.",
        }
    }

    /// Of MQTT 5.
    pub(super) fn of_v5(error: v5::ConnectionError) -> Self {
        use v5::mqttbytes::Error as Bytes;
        use v5::{ConnectionError, StateError};
        let because = error.to_string();
        match error {
            ConnectionError::ConnectionRefused(code) => Self::new(refused_v5(code), format!("it refuses: {code:?}")),
            ConnectionError::Tls(_) => Self::new(Kind::Tls, because),
            ConnectionError::Io(error)
            | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(Bytes::Io(error))) => {
                Self::new(of_io(&error), because)
            }
            ConnectionError::Timeout(_)
            | ConnectionError::MqttState(StateError::AwaitPingResp | StateError::CollisionTimeout) => {
                Self::new(Kind::Silent, because)
            }
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
                let said = reason_string.map(|said| format!(" ({said})")).unwrap_or_default();
                Self::new(disconnected_v5(reason_code), format!("it ended the connection: {reason_code:?}{said}"))
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => Self::closed(),
            ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_) => Self::new(Kind::Foreign, because),
            ConnectionError::RequestsDone => Self::new(Kind::Unreachable, because),
        }
    }

    /// Of MQTT 3.1.1.
    pub(super) fn of_v311(error: rumqttc::ConnectionError) -> Self {
        use rumqttc::mqttbytes::Error as Bytes;
        use rumqttc::{ConnectReturnCode, ConnectionError, StateError};
        let because = error.to_string();
        match error {
            ConnectionError::ConnectionRefused(code) => {
                let kind = match code {
                    ConnectReturnCode::BadClientId => Kind::Name,
                    ConnectReturnCode::RefusedProtocolVersion => Kind::Version,
                    ConnectReturnCode::ServiceUnavailable => Kind::Busy,
                    _ => Kind::NotLetIn,
                };
                Self::new(kind, format!("it refuses: {code:?}"))
            }
            ConnectionError::Tls(_) => Self::new(Kind::Tls, because),
            ConnectionError::Io(error)
            | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(Bytes::Io(error))) => {
                Self::new(of_io(&error), because)
            }
            ConnectionError::NetworkTimeout
            | ConnectionError::FlushTimeout
            | ConnectionError::MqttState(StateError::AwaitPingResp | StateError::CollisionTimeout) => {
                Self::new(Kind::Silent, because)
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => Self::closed(),
            ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_) => Self::new(Kind::Foreign, because),
            ConnectionError::RequestsDone => Self::new(Kind::Unreachable, because),
        }
    }
}

/// An end that the other side made, or no connection at all.
fn of_io(error: &io::Error) -> Kind {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Kind::Closed,
        _ => Kind::Unreachable,
    }
}

/// MQTT 5, 3.2.2.2: reason codes of a CONNACK.
fn refused_v5(code: v5::mqttbytes::v5::ConnectReturnCode) -> Kind {
    use v5::mqttbytes::v5::ConnectReturnCode as Code;
    match code {
        Code::ClientIdentifierNotValid | Code::BadClientId => Kind::Name,
        Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => Kind::Version,
        Code::ServerUnavailable
        | Code::ServerBusy
        | Code::ServiceUnavailable
        | Code::QuotaExceeded
        | Code::ConnectionRateExceeded => Kind::Busy,
        Code::UseAnotherServer | Code::ServerMoved => Kind::Moved,
        Code::RetainNotSupported => Kind::NoRetain,
        Code::QoSNotSupported => Kind::NoAcknowledge,
        Code::MalformedPacket | Code::ProtocolError => Kind::Foreign,
        _ => Kind::NotLetIn,
    }
}

/// MQTT 5, 3.14.2.1: reason codes of a DISCONNECT.
fn disconnected_v5(code: v5::mqttbytes::v5::DisconnectReasonCode) -> Kind {
    use v5::mqttbytes::v5::DisconnectReasonCode as Code;
    match code {
        Code::SessionTakenOver => Kind::TakenOver,
        Code::RetainNotSupported => Kind::NoRetain,
        Code::QoSNotSupported => Kind::NoAcknowledge,
        Code::UseAnotherServer | Code::ServerMoved => Kind::Moved,
        Code::NotAuthorized
        | Code::TopicNameInvalid
        | Code::PacketTooLarge
        | Code::PayloadFormatInvalid
        | Code::MalformedPacket
        | Code::ProtocolError
        | Code::ImplementationSpecificError
        | Code::UnspecifiedError => Kind::Message,
        Code::KeepAliveTimeout => Kind::Silent,
        _ => Kind::Ended,
    }
}

//! Where the broker is and how to be let in: checked once, before the first connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drivers::Notice;
use rumqttc::tokio_rustls::rustls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::host::{identity, text};

/// Longest password that is read from a file, in bytes. A longer file is no password.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// MQTT 5.
    #[default]
    V5,
    /// MQTT 3.1.1, for brokers that know no better.
    V311,
}

/// Where the broker is and how to be let in.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The broker's name or address.
    pub host: String,
    /// Its port: 1883 is usual, 8883 with TLS.
    pub port: u16,
    /// Which MQTT it speaks.
    pub version: Version,
    /// This client's name to the broker; absent: one that no other agent has. Two clients of one name push each other out.
    pub client_id: Option<String>,
    /// User name; absent: none is sent.
    pub user: Option<String>,
    /// File that holds the password: secrets are given by path.
    pub password_file: Option<PathBuf>,
    /// TLS; absent: none.
    pub tls: Option<Tls>,
    /// Shortest time between two unhurried messages on one topic.
    pub interval: Duration,
}

/// TLS files, each PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates of the authorities to trust; absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate and its key, for brokers that ask for one.
    pub client_files: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// A broker without secrets, at its usual interval of one second.
    pub fn plain(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            version: Version::V5,
            client_id: None,
            user: None,
            password_file: None,
            tls: None,
            interval: Duration::from_secs(1),
        }
    }

    /// Reads every file the settings name, and connects to nobody.
    ///
    /// # Errors
    /// The first file that cannot be used, and what to do.
    pub fn prove(&self) -> Result<(), Notice> {
        Ready::from(self).map(|_| ())
    }
}

/// Settings with their files read: they can still meet a broker that is away, but not a file that is.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) version: Version,
    /// The name, and its short form where it is our own choice.
    pub(super) client_id: String,
    pub(super) short_id: Option<String>,
    pub(super) credentials: Option<(String, String)>,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl Ready {
    /// Reads the files that the settings name.
    pub(super) fn from(settings: &Settings) -> Result<Self, Notice> {
        let password = settings.password_file.as_deref().map(password).transpose()?;
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            version: settings.version,
            client_id: settings.client_id.clone().unwrap_or_default(),
            short_id: None,
            credentials: settings.user.clone().map(|user| (user, password.unwrap_or_default())),
            tls: settings.tls.as_ref().map(tls).transpose()?,
        })
    }
}

impl Ready {
    /// Takes a name that no other agent has, if none is configured. `log` tells this store from every other, and the
    /// computer's number tells copies of one memory card apart.
    pub(super) fn name(&mut self, site: &str, agent: &str, log: &str) {
        if self.client_id.is_empty() {
            let unique = identity::unique(log);
            self.client_id = format!("fab-{site}-{agent}-{}", &unique[..8]);
            self.short_id = Some(format!("fab{}", &unique[..16]));
        }
    }
}

fn password(path: &Path) -> Result<String, Notice> {
    let text = text::read(path, PASSWORD_BYTES_MAX).map_err(|error| {
        let too_long = error.kind() == std::io::ErrorKind::FileTooLarge;
        unreadable(
            "the password",
            path,
            &if too_long { "it is too long for one".to_owned() } else { error.to_string() },
        )
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn tls(tls: &Tls) -> Result<Arc<ClientConfig>, Notice> {
    let mut roots = RootCertStore::empty();
    match &tls.ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unreadable("a CA certificate", path, &error.to_string()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong = |error: rustls::Error| {
        Notice::new(
            "mqtt.tls",
            format!("TLS to the MQTT broker cannot be set up: {error}."),
            "Nothing was connected.",
            "Check the certificate files.",
        )
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .with_root_certificates(roots);
    let config = match &tls.client_files {
        Some((certificate_file, key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| unreadable("the client key", key_file, &error.to_string()))?;
            builder.with_client_auth_cert(certificates(certificate_file)?, key).map_err(wrong)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Notice> {
    let read = |error: rustls::pki_types::pem::Error| unreadable("a certificate", path, &error.to_string());
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if certificates.is_empty() {
        return Err(unreadable("a certificate", path, "the file holds none"));
    }
    Ok(certificates)
}

fn unreadable(what: &str, path: &Path, because: &str) -> Notice {
    Notice::new(
        "mqtt.file",
        format!("{} ({what} for the MQTT broker) cannot be used: {because}.", path.display()),
        "Nothing was connected.",
        "Correct the file or its path in the configuration.",
    )
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn two_computers_with_the_default_configuration_have_different_names_to_the_broker() {
        let named = |log: &str| {
            let mut ready = Ready::from(&Settings::plain("localhost", 1883)).unwrap();
            ready.name("workshop", "agent", log);
            ready
        };
        let (one, other) = (named("0011"), named("0012"));
        assert_ne!(one.client_id, other.client_id);
        assert_eq!(one.client_id, named("0011").client_id, "a restart keeps it");
        assert!(one.client_id.starts_with("fab-workshop-agent-"));
        // MQTT 3.1.1, 3.1.3.1: what every broker must take.
        let short = one.short_id.unwrap();
        assert!(short.len() <= 23 && short.chars().all(|c| c.is_ascii_alphanumeric()), "{short}");
        let mut settings = Settings::plain("localhost", 1883);
        settings.client_id = Some("mine".into());
        let mut ready = Ready::from(&settings).unwrap();
        ready.name("workshop", "agent", "0011");
        assert_eq!((ready.client_id.as_str(), ready.short_id), ("mine", None));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let settings = Settings {
            user: Some("u".into()),
            password_file: Some("/nonexistent/password".into()),
            ..Settings::plain("localhost", 1883)
        };
        let notice = Ready::from(&settings).err().unwrap();
        assert_eq!(notice.code, "mqtt.file");
        assert!(notice.happened.contains("/nonexistent/password"), "{notice}");
        let tls = Tls { ca_file: Some("/nonexistent/ca.pem".into()), client_files: None };
        let settings = Settings { tls: Some(tls), ..Settings::plain("localhost", 8883) };
        assert_eq!(Ready::from(&settings).err().unwrap().code, "mqtt.file");
    }
}

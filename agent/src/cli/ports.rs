//! `fab-agent ports`: serial ports with names that stay, and who answers on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drivers::probe::{self, probe};
use serde_json::{Value, json};

use super::{Failure, print};

/// What to say of the ports.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ask on each port who is there. Boards that reset when their port is opened will reset
    #[arg(long)]
    probe: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let by_path = links(Path::new("/dev/serial/by-path"));
    let by_id = links(Path::new("/dev/serial/by-id"));
    let mut ports = Vec::new();
    for port in serialport::available_ports().unwrap_or_default() {
        let device = PathBuf::from(&port.port_name);
        let mut entry = json!({
            "port": port.port_name,
            "by_path": by_path.get(&device),
            "by_id": by_id.get(&device),
            "adapter": adapter(&port.port_type),
        });
        if arguments.probe {
            entry["machine"] = match probe(&port.port_name, &probe::BAUDS).await {
                Ok(found) => json!({ "dialect": found.dialect, "baud": found.baud, "said": found.said }),
                Err(notice) => json!({ "error": notice.code, "message": notice.happened }),
            };
        }
        ports.push(entry);
    }
    if arguments.json {
        print(&json!({ "ports": ports }).to_string());
    } else {
        for port in &ports {
            print(&line(port));
        }
        if ports.is_empty() {
            print("There are no serial ports. Check the cable and the machine's power.");
        }
    }
    Ok(())
}

/// Symbolic links of a folder, by what they lead to.
fn links(folder: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path().canonicalize().ok()?, entry.path()))).collect()
}

fn adapter(kind: &serialport::SerialPortType) -> Value {
    match kind {
        serialport::SerialPortType::UsbPort(usb) => json!({
            "vendor_id": format!("{:04x}", usb.vid),
            "product_id": format!("{:04x}", usb.pid),
            "serial_number": usb.serial_number,
            "manufacturer": usb.manufacturer,
            "product": usb.product,
        }),
        _ => Value::Null,
    }
}

fn line(port: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let stable = text(&port["by_path"]).or_else(|| text(&port["by_id"]));
    let mut line = text(&port["port"]).unwrap_or_default();
    if let Some(stable) = stable {
        line = format!("{stable}  ({line})");
    }
    if let Some(product) = text(&port["adapter"]["product"]) {
        line = format!("{line}  {product}");
    }
    match &port["machine"] {
        Value::Object(machine) if machine.contains_key("dialect") => {
            let part = |name: &str| machine[name].as_str().unwrap_or_default().to_owned();
            format!("{line}  {} at {} baud: {}", part("dialect"), machine["baud"], part("said"))
        }
        Value::Object(machine) => {
            format!(
                "{line}  {} [{}]",
                machine["message"].as_str().unwrap_or_default(),
                machine["error"].as_str().unwrap_or_default()
            )
        }
        _ => line,
    }
}

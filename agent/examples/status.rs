//! What every machine of a running agent does: `cargo run -p fab-agent --example status [HOST:PORT]`.
#![allow(clippy::print_stdout, reason = "it is what an example is for")]

use fab_agent::client::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8484".to_owned());
    let answer = Client::new(host, None).get("/api/v1/machines").await?;
    for machine in answer["machines"].as_array().into_iter().flatten() {
        let text = |field: &str| machine[field].as_str().unwrap_or("unknown").to_owned();
        let why = machine["reason"]["happened"].as_str().unwrap_or_default();
        println!("{:<12} {:<10} {why}", text("id"), text("state"));
        if let Some(fraction) = machine["job"]["progress"].as_f64() {
            println!("{:<12} {:.0} % executed of {}", "", fraction * 100.0, machine["job"]["name"]);
        }
    }
    Ok(())
}

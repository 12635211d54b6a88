//! What every machine of a running agent does: `cargo run -p fab-agent --example status [HOST:PORT]`.
use fab_agent::client::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8484".to_owned());
    let answer = Client::new(host, None).get("/api/v1/machines").await?;
    let mut lines = String::new();
    for machine in answer["machines"].as_array().into_iter().flatten() {
        let text = |field: &str| machine[field].as_str().unwrap_or("unknown").to_owned();
        lines += &format!("{:<12} {:<10}", text("id"), text("state"));
        if let Some(percent) = machine["job"]["progress"].as_f64().map(|fraction| fraction * 100.0) {
            lines += &format!(" {percent:.0} % executed");
        }
        if let Some(why) = machine["reason"]["happened"].as_str() {
            lines += &format!(" {why}");
        }
        lines.push('\n');
    }
    std::io::Write::write_all(&mut std::io::stdout(), lines.as_bytes())?;
    Ok(())
}

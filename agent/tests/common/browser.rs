//! A headless Chromium, driven as a person would, through chromedriver and the W3C WebDriver protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fixture that fails is a test that fails")]
#![allow(dead_code, reason = "each test file uses its part of the fixture")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use fab_agent::client::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Longest wait for anything on a page: far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a page.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An element's identifier is in the field of this name, says the WebDriver standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page. Dropping it closes it.
pub(crate) struct Browser {
    driver: Child,
    client: Client,
    session: String,
    runtime: Runtime,
}

impl Browser {
    /// Starts a browser. One that is not installed fails the test: nobody else clicks through the page.
    pub(crate) fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver cannot be started: {error}. Install it: apt-get install chromium chromium-driver")
            });
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let port = line.split_once("started successfully on port ")?.1;
            Some(port.trim_end_matches('.').to_owned())
        });
        // What it says later is not looked at, but must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect("chromedriver ended before it listened");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = Client::new(format!("127.0.0.1:{port}"), None);
        let mut browser = Self { driver, client, session: String::new(), runtime };
        // The sandbox needs rights that containers do not give, and only this project's own page is opened.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let session = browser.runtime.block_on(browser.client.post("/session", "application/json", wanted.to_string()));
        let session = session.unwrap_or_else(|failure| {
            panic!("no browser: {failure}. Install Chromium: apt-get install chromium chromium-driver")
        });
        session["value"]["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser
    }

    /// Asks the driver for something.
    fn ask(&self, command: &str, body: &Value) -> Result<Value, String> {
        let path = format!("/session/{}/{command}", self.session);
        let answer = self.runtime.block_on(self.client.post(&path, "application/json", body.to_string()));
        answer.map(|mut answer| answer["value"].take()).map_err(|failure| format!("{command} {body}: {failure}"))
    }

    /// One command of the Chrome DevTools protocol.
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.ask("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).unwrap()
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) {
        self.ask("url", &json!({ "url": url })).unwrap();
    }

    /// Opens another tab and goes there; the others are in the background from then on.
    pub(crate) fn open_in_new_tab(&self, url: &str) {
        let tab = self.ask("window/new", &json!({ "type": "tab" })).unwrap();
        self.ask("window", &json!({ "handle": tab["handle"] })).unwrap();
        self.open(url);
    }

    /// Gives the page this size in CSS pixels, and light or dark.
    pub(crate) fn looks(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// What a script's `return` gives.
    pub(crate) fn evaluate(&self, script: &str) -> Value {
        self.ask("execute/sync", &json!({ "script": script, "args": [] })).unwrap()
    }

    /// Looks until a condition, in JavaScript, holds.
    pub(crate) fn until(&self, condition: &str) {
        let started = Instant::now();
        while self.evaluate(&format!("return Boolean({condition})")) != json!(true) {
            let seen = || self.evaluate("return document.body.innerText");
            assert!(started.elapsed() < PATIENCE, "never: {condition}\n{}", seen().as_str().unwrap_or_default());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The visible text of an element.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.evaluate(&format!("return document.querySelector({}).innerText", json!(selector)));
        text.as_str().unwrap().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.ask("element", &json!({ "using": "css selector", "value": selector })).unwrap();
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Presses the mouse's button on an element and keeps it down.
    pub(crate) fn press(&self, selector: &str) {
        self.evaluate(&format!("document.querySelector({}).scrollIntoView({{ block: 'center' }})", json!(selector)));
        let over = json!({ "type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": { ELEMENT: self.element(selector) } });
        self.mouse(&json!([over, { "type": "pointerDown", "button": 0 }]));
    }

    /// Lets go of the mouse's button.
    pub(crate) fn let_go(&self) {
        self.mouse(&json!([{ "type": "pointerUp", "button": 0 }]));
    }

    fn mouse(&self, actions: &Value) {
        let mouse =
            json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": actions });
        self.ask("actions", &json!({ "actions": [mouse] })).unwrap();
    }

    /// Clicks an element where it is on the screen: one that is hidden or covered fails the test.
    pub(crate) fn click(&self, selector: &str) {
        self.ask(&format!("element/{}/click", self.element(selector)), &json!({})).unwrap();
    }

    /// Types into a field; gives a file to a field for files.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        self.ask(&format!("element/{}/value", self.element(selector)), &json!({ "text": text })).unwrap();
    }

    /// Everything the console has said since the last look.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.ask("se/log", &json!({ "type": "browser" })).unwrap();
        entries.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    /// The addresses of all requests since the last look.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.ask("se/log", &json!({ "type": "performance" })).unwrap();
        let messages = entries.as_array().unwrap().iter().map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            message["message"].clone()
        });
        let requests = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        requests.map(|message| message["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// A picture of what is on the screen, as PNG.
    pub(crate) fn picture(&self, path: &Path) {
        let picture = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("goog/cdp/execute", &json!({ "cmd": "Browser.close", "params": {} }));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

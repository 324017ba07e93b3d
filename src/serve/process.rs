//! A worker's process, seen from the service: asked a question at a time, and ended where it takes too long.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::config::Study;
use super::worker::{Answer, Request};

/// A process that runs, or ran until a moment ago.
pub struct Process {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

impl Process {
    /// Starts one.
    pub fn start(settings: &Study) -> Result<Process, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("worker").arg("--threads").arg(settings.threads.to_string());
        command.arg("--memory-mb").arg(settings.memory_mb.to_string());
        if let Some(model) = &settings.model {
            command.arg("--model").arg(model);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the worker cannot be started: {error}"))?;
        let (Some(questions), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the worker has no pipes".to_owned());
        };
        let (sender, answers) = channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Process { child, questions, answers })
    }

    /// Asks; after an error the process is gone.
    pub fn ask(&mut self, request: &Request, patience: Duration) -> Result<Answer, String> {
        // Strings and paths of digits and dots always serialize.
        let line = serde_json::to_string(request).unwrap_or_default();
        let asked = writeln!(self.questions, "{line}").and_then(|()| self.questions.flush());
        if asked.is_err() {
            return Err(self.end());
        }
        match self.answers.recv_timeout(patience) {
            Ok(line) => serde_json::from_str(&line)
                .map_err(|_| format!("the worker said what it should not; {}", self.end())),
            Err(RecvTimeoutError::Disconnected) => Err(self.end()),
            Err(RecvTimeoutError::Timeout) => {
                // Whether it was still there changes nothing.
                let _ = self.child.kill();
                let ended = self.end();
                Err(format!("the worker took more than {} s and was ended: {ended}", patience.as_secs()))
            }
        }
    }

    fn end(&mut self) -> String {
        match self.child.wait() {
            Ok(status) => format!("the worker ended: {status}"),
            Err(error) => format!("the worker ended: {error}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

"""hemapatch serve beside DCMTK's storescp and Orthanc: how many slices a second they keep, sent over many associations at once.

    python3 benches/peers/storage.py [--rounds N] [--associations N] [--tls] [--program FILE] [--record FILE]

Each association is a storescu that sends a drawn study of 28 slices of 512x512 (0.5 MiB). The servers take turns, on the same disk; a
turn is over when all slices are acknowledged. hemapatch and Orthanc make each file durable before they acknowledge it, storescp does
not. With --tls all of it goes over TLS, with certificates on both sides. hemapatch judges the studies meanwhile, as it does beside a scanner. Its memory is that of the service and its worker together.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

SLICES = 28


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port, process):
    while process.poll() is None:
        with socket.socket() as peer:
            if peer.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args[0]} ended with {process.returncode} before it listened")


def resident_mb(process):
    """Of a process and those that it started, now."""
    total, ids = 0, [process.pid]
    while ids:
        number = ids.pop()
        try:
            status = pathlib.Path(f"/proc/{number}/status").read_text()
            total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            for thread in pathlib.Path(f"/proc/{number}/task").iterdir():
                ids += [int(child) for child in (thread / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass  # It has ended meanwhile.
    return total / 1000


class Certificates:
    """An authority and a certificate that all sides show, made by openssl."""

    def __init__(self, folder):
        def run(*words):
            subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

        new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        run(*new, "-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "authority-key.pem", "-out", "authority.pem")
        run(*new, "-subj", "/CN=box", "-keyout", "key.pem", "-out", "request.pem")
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        run("x509", "-req", "-in", "request.pem", "-CA", "authority.pem", "-CAkey", "authority-key.pem", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "certificate.pem")
        self.authority, self.key, self.certificate = (str(folder / name) for name in
                                                      ["authority.pem", "key.pem", "certificate.pem"])
        # As DCMTK's programs take them.
        self.words = ["+tls", self.key, self.certificate, "+cf", self.authority]


class Hemapatch:
    name, title = "hemapatch serve", "HEMAPATCH"

    def __init__(self, program, tls):
        self.program, self.tls = program, tls

    def command(self, folder, port):
        config = folder / "hemapatch.toml"
        config.write_text(
            f"[spool]\nfolder = '{folder}/spool'\n[receive]\nlisten = '127.0.0.1:{port}'\n" + (
                f"tls = {{ certificate = '{self.tls.certificate}', key = '{self.tls.key}', "
                f"authorities = '{self.tls.authority}' }}\n" if self.tls else "") +
            "[[receive.peer]]\nae_title = 'STORESCU'\naddress = '127.0.0.1'\n"
            f"[[alert]]\nname = 'log'\non = ['alert', 'no_alert', 'refused']\nlog = '{folder}/alerts.jsonl'\n"
        )
        return [self.program, "serve", "--config", config]

    def kept(self, folder):
        return len(list(folder.glob("spool/studies/*/objects/*.dcm")))


class Storescp:
    name, title = "DCMTK storescp", "STORESCP"

    def __init__(self, tls):
        self.words = tls.words if tls else []

    def command(self, folder, port):
        (folder / "kept").mkdir()
        return ["storescp", *self.words, "--fork", "-od", folder / "kept", port]

    def kept(self, folder):
        return len(list((folder / "kept").iterdir()))


class Orthanc:
    name, title = "Orthanc", "ORTHANC"

    def __init__(self, tls):
        self.more = {"DicomTlsEnabled": True, "DicomTlsCertificate": tls.certificate, "DicomTlsPrivateKey": tls.key,
                     "DicomTlsTrustedCertificates": tls.authority} if tls else {}

    def command(self, folder, port):
        config = folder / "orthanc.json"
        config.write_text(json.dumps({
            "StorageDirectory": f"{folder}/kept", "IndexDirectory": f"{folder}/kept", "DicomPort": port,
            "HttpServerEnabled": False, "DicomAlwaysAllowStore": True, "SyncStorageArea": True,
            # As many associations at once as are sent, and nothing that a store does not need.
            "DicomThreadsCount": 50, "Plugins": [], "DicomScpTimeout": 300, **self.more,
        }))
        return ["Orthanc", config]

    def kept(self, folder):
        # Beside each object Orthanc may keep its header; objects are larger than a quarter of a megabyte.
        return sum(1 for path in (folder / "kept").rglob("*") if path.is_file() and path.stat().st_size > 250_000
                   and not path.name.startswith("index"))


def turn(server, studies, disk, tls):
    folder = pathlib.Path(tempfile.mkdtemp(dir=disk))
    port = free_port()
    process = subprocess.Popen([str(word) for word in server.command(folder, port)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        time.sleep(0.5)
        idle = resident_mb(process)
        most, over = [idle], threading.Event()

        def watch():
            while not over.wait(0.05):
                most.append(resident_mb(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        os.sync()
        since = time.monotonic()
        words = ["storescu", *(tls.words if tls else []), "-aec"]
        senders = [subprocess.Popen([*words, server.title, "127.0.0.1", str(port), "+sd", study],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for study in studies]
        failed = sum(sender.wait() != 0 for sender in senders)
        seconds = time.monotonic() - since
        if isinstance(server, Hemapatch):
            # Until everything is judged, for the memory.
            alerts, until = folder / "alerts.jsonl", time.monotonic() + 300
            while time.monotonic() < until and (not alerts.exists() or alerts.read_text().count("\n") < len(studies)):
                time.sleep(0.1)
        over.set()
        watcher.join()
        kept = server.kept(folder)
        assert failed == 0 and kept == SLICES * len(studies), f"{server.name}: {failed} senders failed, {kept} kept"
        return SLICES * len(studies) / seconds, idle, max(most)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--associations", type=int, default=50)
    arguments.add_argument("--tls", action="store_true", help="over TLS")
    arguments.add_argument("--program", default="target/release/hemapatch")
    arguments.add_argument("--record", help="a file for the table, which is printed anyway")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix="bench-storage-") as disk:
        disk = pathlib.Path(disk).resolve()
        tls = Certificates(disk) if options.tls else None
        servers = [Hemapatch(os.path.abspath(options.program), tls), Storescp(tls), Orthanc(tls)]
        studies = []
        for number in range(options.associations):
            study = disk / f"study-{number}"
            words = [options.program, "phantom", "-o", study, "--seed", str(number + 1)]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            studies.append(str(study))
        rates = {server.name: [] for server in servers}
        memory = []
        for number in range(options.rounds):
            # Whoever comes first differs.
            for server in servers[number % 3:] + servers[:number % 3]:
                rate, idle, most = turn(server, studies, disk, tls)
                rates[server.name].append(rate)
                if isinstance(server, Hemapatch):
                    memory.append((idle, most))
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
               platform.machine())
    lines = [f"# {options.associations} associations at once, {SLICES} slices of 0.5 MiB each{', over TLS' if tls else ''}; {options.rounds} rounds in turns; "
             f"{os.cpu_count()} cores of {cpu}",
             f"{'':18} slices/s (least to most)    hemapatch is"]
    ours = rates[servers[0].name]
    for name, values in rates.items():
        ratios = [our / value for our, value in zip(ours, values)]
        lines.append(f"{name:18} {statistics.median(values):6.0f} ({min(values):.0f} to {max(values):.0f})"
                     f"{'':12}{statistics.median(ratios):6.2f}x ({min(ratios):.2f} to {max(ratios):.2f})")
    lines.append(f"hemapatch's memory: idle {max(idle for idle, _ in memory):.0f} MB, under load at most "
                 f"{max(most for _, most in memory):.0f} MB with the process that judges")
    print("\n".join(lines))
    if options.record:
        pathlib.Path(options.record).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

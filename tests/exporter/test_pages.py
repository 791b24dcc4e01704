# SPDX-License-Identifier: Apache-2.0
"""What each path answers."""

import gzip
from html.parser import HTMLParser

import pytest

from services.exporter.inputs import Inputs
from services.exporter.page_workloads import ROWS_MAX
from services.exporter.pages import METRICS_TYPE, Pages, landing_page
from services.exporter.snapshot import Snapshots
from wattline.wire.frames import SourceState

from .frames import HOSTILE, NOW_NS, books, small, status

S = 1_000_000_000


class Clock:
    now_ns = NOW_NS

    def __call__(self):
        return self.now_ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def snapshots(clock):
    return Snapshots(lambda _inputs, taken_ns: f"text {taken_ns}\n".encode(), clock)


@pytest.fixture
def pages(snapshots, clock):
    return Pages(snapshots, clock)


def test_metrics(pages):
    """/metrics is Prometheus's text format, compressed only for who accepts it, and says that it depends."""
    plain, packed = pages.answer("/metrics"), pages.answer("/metrics", gzip_accepted=True)
    assert plain.status == packed.status == 200
    assert plain.content_type == packed.content_type == METRICS_TYPE
    assert METRICS_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers == {"Vary": "Accept-Encoding", "Content-Encoding": "gzip"}
    assert plain.headers == {"Vary": "Accept-Encoding"}


def test_ready_only_with_fresh_energy(pages, snapshots, clock):
    """/-/ready is 503 with a reason in one line without fresh energy, else 200, scraped or not."""
    before = pages.answer("/-/ready")
    assert before.status == 503
    assert before.body.count(b"\n") == 1
    assert b"is it running?" in before.body
    snapshots.offer(Inputs(energy=small()))
    assert pages.answer("/-/ready").status == 200
    clock.now_ns += 5 * S
    after = pages.answer("/-/ready")
    assert after.status == 503
    assert b"the newest energy frame is" in after.body


def test_healthy_whatever_the_data(pages):
    """/-/healthy is 200 as long as somebody answers: stale data is no reason to restart the exporter."""
    assert pages.answer("/-/healthy").status == 200


@pytest.mark.parametrize("path", ["/metric", "/metrics/", "/-/", "//", "", "/../metrics"])
def test_anything_else_is_not_found(pages, path):
    """Other paths are 404."""
    assert pages.answer(path).status == 404


class Page(HTMLParser):
    """The tags, links and words of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.words.append(data)


def test_landing_page_says_what_is_up(pages, snapshots):
    """The page links to what there is and says which stages and sources are up, and why not."""
    inputs = Inputs(energy=small(), statuses={"power": status("power", mono_ns=NOW_NS - 60 * S)})
    snapshots.offer(inputs.with_frame(status("calculator")))
    response = pages.answer("/")
    page = Page(response.body.decode())
    assert page.links == ["/metrics", "/-/ready", "/-/healthy"]
    text = "|".join(page.words)
    assert "calculator|working|version 0.1.0" in text
    assert "power|silent|version 0.1.0|the last frame of power is 60.0 s old" in text
    assert "probe|missing" in text
    assert "redfish|down|timed out" in text
    assert "Ready." in text
    assert response.headers["Content-Security-Policy"] == "default-src 'none'"


def test_names_cannot_change_the_page():
    """Whatever names a frame has, the page has the same elements: none of them is taken for markup."""
    usual = Page(landing_page(Inputs(energy=small()), NOW_NS, small())).tags
    for name in ("<script>x</script>", "</table>", "&lt;b", *HOSTILE):
        zones = [(name, name, name)]
        energy = books(
            zones,
            [(name, name, name, 1, [1], [1])],
            [],
            [],
            sources=[SourceState(name=name, up=False, reason=name)],
            container_names=[name],
            kinds=[name],
            pods={one: [name] for one in ("pod_uid", "pod_name", "namespace", "owner_kind", "owner_name")},
        )
        energy.node = name
        page = Page(landing_page(Inputs(energy=energy, statuses={name: status(name)}), NOW_NS, energy))
        assert page.tags == usual


def test_the_page_names_absent_zones():
    """Each with why it has no energy; no heading where none is absent."""
    page = landing_page(Inputs(energy=small()), NOW_NS)
    assert "<h2>Absent zones</h2>" in page
    row = "<td>package</td><td>1-die-1</td><td>rapl-sysfs</td><td>mirror</td>"
    assert f"<tr>{row}<td>shows the counter of package 1, which is counted</td></tr>" in page
    assert "Absent zones" not in landing_page(Inputs(energy=books([], [], [], [])), NOW_NS)


def test_the_page_names_pods_and_containers(pages, snapshots):
    """Those of most energy first, in the zones that add up; by their ids where they have no name."""
    snapshots.offer(Inputs(energy=small()))
    page = pages.answer("/").body.decode()
    for row in (
        ("shop", "web-6d4b-x2v9q", "Deployment web", "10.9 J"),
        ("", "d41d", "", "0.0 J"),
        ("api", "container", "shop/web-6d4b-x2v9q", "10.9 J"),
        ("e4b7", "", "d41d", "0.0 J"),
    ):
        assert "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" in page
    assert page.index("web-6d4b-x2v9q") < page.index("d41d")
    assert "system_processes" not in page


def test_the_page_has_the_scrapers_joules(pages, snapshots, clock):
    """They change once a second at most, however often frames come: finer ones tell what a process does."""

    def offer(energy_uj):
        energy = books([("package", "0", "x")], [("c", "p", "", 1, [energy_uj], [0])], [], [])
        snapshots.offer(Inputs(energy=energy))
        return pages.answer("/").body.decode()

    assert "1.0 J" in offer(1_000_000)
    clock.now_ns += S // 2
    assert "2.0 J" not in offer(2_000_000)
    clock.now_ns += S // 2
    assert "3.0 J" in offer(3_000_000)


def test_the_page_has_a_limit(pages, snapshots):
    """Not all of a thousand pods are on it."""
    table = [(f"c{number}", f"p{number}", "", 1, [number], [0]) for number in range(1000)]
    snapshots.offer(Inputs(energy=books([("package", "0", "x")], table, [], [])))
    page = pages.answer("/").body.decode()
    assert page.count("<td>c9") == ROWS_MAX
    assert "<td>p999<" in page
    assert "<td>p949<" not in page

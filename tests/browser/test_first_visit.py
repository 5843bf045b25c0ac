"""The main job, in a real browser: portal, login, JupyterLab, cells run, the work is there tomorrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browsers import chromium, log_in, run_first_cell
from support.sites import PASSWORD, RunningSite, eventually
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def open_lab(page: Page, site: RunningSite, course: str, name: str) -> None:
    page.goto(site.url)
    page.locator(f"a[href$='courses/{course}/'], button[formaction$='courses/{course}/']").first.click()
    log_in(page, name, PASSWORD)
    page.wait_for_url(f"**/courses/{course}/user/{name}/lab/**", timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)


def save(page: Page, file: Path) -> None:
    page.keyboard.press("Control+s")
    eventually(lambda: "six times seven is 42" in file.read_text(), 20)


def log_out(context: BrowserContext, site: RunningSite, course: str) -> None:
    page = context.new_page()
    page.goto(f"{site.course_url(course)}hub/home")
    page.locator("#logout").click()
    page.wait_for_url("**/hub/**")
    page.goto(f"{site.course_url(course)}hub/home")
    page.wait_for_url("**/hub/login**")
    page.close()


def test_student_runs_the_notebook_and_finds_it_again(make_site: MakeSite, browser: Browser) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    context = browser.new_context()
    page = context.new_page()
    open_lab(page, site, "alpha", "sam")
    assert "/lab/tree/start.ipynb" in page.url
    run_first_cell(page)
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("six times seven is 42", timeout=60_000)
    (notebook,) = (site.folder.root / "homes" / "alpha").glob("*sam*/start.ipynb")
    save(page, notebook)
    page.close()
    log_out(context, site, "alpha")

    # Tomorrow: everything was stopped over night.
    site.stop()
    site.start()
    page = context.new_page()
    open_lab(page, site, "alpha", "sam")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("six times seven is 42", timeout=60_000)
    context.close()


def test_wrong_password_and_unknown_course_say_what_to_do(make_site: MakeSite, browser: Browser) -> None:
    site = make_site()
    site.start()
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(f"{site.course_url('alpha')}hub/login")
    assert page.locator("html").get_attribute("lang") == "fr"
    log_in(page, "sam", "wrong")
    expect(page.get_by_role("alert").first).to_be_visible()
    answer = page.goto(site.course_url("nowhere"))
    assert answer is not None and answer.status == 404
    expect(page.locator("h1")).to_contain_text("introuvable")
    context.close()


def test_pages_follow_the_browsers_language(make_site: MakeSite, browser: Browser) -> None:
    site = make_site()
    site.start()
    for locale, words in (("en-GB", "Enter"), ("ja-JP", "入る"), ("fr-FR", "Entrer")):
        context = browser.new_context(locale=locale)
        page = context.new_page()
        page.goto(site.url)
        expect(page.locator("main a").first).to_contain_text(words)
        assert page.locator("html").get_attribute("lang") == locale[:2]
        context.close()
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(site.url)
    page.get_by_text("日本語").click()
    page.goto(site.course_url("alpha"))
    assert page.locator("html").get_attribute("lang") == "ja"
    context.close()


def test_same_person_in_two_courses_is_two_accounts(make_site: MakeSite) -> None:
    """Another account, another home, and nothing that the first course's cookies or token open in the second."""
    site = make_site(courses=("alpha", "beta"))
    site.start()
    alpha, beta = Student(site, "alpha", "sam").enter(), Student(site, "beta", "sam").enter()
    saved = alpha.api("PUT", "contents/mine.txt", json={"type": "file", "format": "text", "content": "secret"})
    assert saved.status_code == 201
    assert beta.api("GET", "contents/mine.txt").status_code == 404
    homes = [h for c in ("alpha", "beta") for h in (site.folder.root / "homes" / c).iterdir()]
    assert len(homes) == 2 and all(home.stat().st_mode & 0o077 == 0 for home in homes)

    # Alpha's cookies, sent to beta as they are, open nothing there.
    cookies = "; ".join(f"{c.name}={c.value}" for c in alpha.session.cookies)
    fresh = requests.Session()
    for path in ("hub/home", "user/sam/lab", "user/sam/api/contents/start.ipynb", "hub/api/user"):
        answer = fresh.get(beta.base + path, headers={"Cookie": cookies}, timeout=20)
        assert answer.status_code == 403 or "/hub/login" in answer.url, (path, answer.status_code, answer.url)

    # Tokens: the learner's own, and that of the learner's server, read as the learner could.
    code = "import os; print(os.environ['JUPYTERHUB_API_TOKEN'])"
    tokens = [alpha.start_kernel().run(code).strip(), site.token("alpha")]
    for token in tokens:
        header = {"Authorization": f"token {token}"}
        assert requests.get(f"{alpha.base}hub/api/user", headers=header, timeout=20).status_code in (200, 403)
        for path in ("hub/api/users", "hub/api/user", "hub/api/users/sam", "user/sam/api/contents"):
            assert requests.get(beta.base + path, headers=header, timeout=20).status_code == 403, path


def test_one_browser_is_in_two_courses_under_one_name(make_site: MakeSite) -> None:
    site = make_site(courses=("alpha", "beta"))
    site.start()
    alpha, beta = Student(site, "alpha", "sam").enter(), Student(site, "beta", "sam")
    beta.session = alpha.session
    beta.enter()
    for student in (alpha, beta, alpha):
        assert student.api("GET", "contents/start.ipynb").status_code == 200
        assert student.start_kernel().run("print(1)") == "1\n"
    paths = [cookie.path for cookie in alpha.session.cookies if cookie.name.startswith("jupyterhub-user-")]
    assert sorted(set(paths)) == ["/courses/alpha/user/sam/", "/courses/beta/user/sam/"]


def test_server_environment_holds_nothing_of_the_sites(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_SECRET_CANARY", "must-not-leak")
    site = make_site()
    site.start()
    kernel = Student(site, "alpha", "sam").enter().start_kernel()
    shown = kernel.run(
        "import os, subprocess; print(dict(os.environ)); print(subprocess.getoutput('cat /proc/self/environ'))"
    )
    assert "must-not-leak" not in shown
    assert PASSWORD not in shown
    assert site.token("alpha") not in shown
    # The environment block of the server and of its parent, from which it was forked, holds none either.
    ancestry = kernel.run(
        "import os\npid = os.getpid()\n"
        "while pid > 1:\n"
        "    try: print(open(f'/proc/{pid}/environ').read())\n"
        "    except OSError: break\n"
        "    pid = int(open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1])\n"
        "    if open(f'/proc/{pid}/comm').read().startswith('cw-server'):\n"
        "        print(open(f'/proc/{pid}/environ').read()); break\n"
    )
    assert "JUPYTERHUB" in shown and "must-not-leak" not in ancestry


def test_material_is_read_only_and_copied_once(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    student = Student(site, "alpha", "sam").enter()
    shown = student.api("GET", "contents/course/start.ipynb").json()
    assert shown["writable"] is False
    change = {"type": "notebook", "content": shown["content"]}
    assert student.api("PUT", "contents/course/start.ipynb", json=change).status_code == 403
    assert student.api("DELETE", "contents/course/start.ipynb").status_code == 403
    assert student.api("PATCH", "contents/course/start.ipynb", json={"path": "stolen.ipynb"}).status_code == 403
    assert student.api("PUT", "contents/start.ipynb", json=change).status_code == 200


def test_memory_limit_binds_a_kernel_alone(make_site: MakeSite) -> None:
    site = make_site(courses=())
    site.folder.add_course("alpha", resources={"memory": "256M", "open_files": 512})
    site.start()
    student = Student(site, "alpha", "sam").enter()
    kernel = student.start_kernel()
    result = kernel.run(
        "try:\n    block = bytearray(600 * 1024 * 1024); print('got it')\nexcept MemoryError:\n    print('refused')"
    )
    assert result == "refused\n"
    assert kernel.run("import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))") == "(512, 512)\n"
    assert student.api("GET", "status").status_code == 200

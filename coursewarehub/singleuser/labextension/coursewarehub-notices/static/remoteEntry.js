/* The notices of a learner's server, shown at the top of JupyterLab and Notebook.
 *
 * Written by hand, and used as it is: there is nothing to build. JupyterLab loads a prebuilt extension by running this
 * file, calling `init` and then `get` of the container it leaves in `_JUPYTERLAB`. Nothing is imported from JupyterLab:
 * the plugin lives from the application object alone, so that no version of a package matters.
 */
(() => {
  "use strict";

  const NAME = "coursewarehub-notices";
  const EVERY = 5;           // seconds from one question to the next
  const PATIENCE = 4000;     // milliseconds for an answer
  const SAVE_AGAIN = 3;      // seconds before the end of a countdown
  const CLOSED = "courseware-notices-closed";

  const CLOSE = { en: "Close", ja: "閉じる", fr: "Fermer" };
  const SIGNS = { info: "i", warning: "!", error: "!" };

  const STYLE = `
#courseware-notices {
  position: fixed; inset: 0 0 auto 0; z-index: 9000; max-height: 40vh; overflow-y: auto;
  font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 14px; line-height: 1.45;
}
#courseware-notices:empty { display: none; }
body > #main { top: var(--courseware-notices-height, 0px) !important; }
.courseware-notice {
  display: flex; align-items: center; gap: 12px; box-sizing: border-box; min-height: 44px; padding: 8px 8px 8px 16px;
  color: var(--ink); background: var(--surface);
  border-bottom: 1px solid var(--edge); border-left: 5px solid var(--edge);
}
.courseware-notice[data-level="info"] { --ink: #0b3c4f; --surface: #e6f2f7; --edge: #0b5f7d; }
.courseware-notice[data-level="warning"] { --ink: #4a3200; --surface: #fdf3db; --edge: #b07908; }
.courseware-notice[data-level="error"] { --ink: #6d1216; --surface: #fdeeee; --edge: #a3242a; }
body[data-jp-theme-light="false"] .courseware-notice[data-level="info"] {
  --ink: #d5ecf5; --surface: #10303c; --edge: #7fcbe4;
}
body[data-jp-theme-light="false"] .courseware-notice[data-level="warning"] {
  --ink: #f8e2b5; --surface: #37290f; --edge: #f3cf8a;
}
body[data-jp-theme-light="false"] .courseware-notice[data-level="error"] {
  --ink: #ffd5d3; --surface: #3a2022; --edge: #ffa3a0;
}
.courseware-notice-sign {
  flex: none; width: 20px; height: 20px; border-radius: 50%; text-align: center; font-weight: 700; line-height: 20px;
  color: var(--surface); background: var(--edge);
}
.courseware-notice-text { flex: 1; overflow-wrap: anywhere; }
.courseware-notice-time {
  flex: none; min-width: 3.2em; padding: 2px 8px; border: 1px solid var(--edge); border-radius: 999px;
  text-align: center; font-weight: 600; font-variant-numeric: tabular-nums;
}
.courseware-notice-close {
  flex: none; width: 28px; height: 28px; padding: 0; border: 0; border-radius: 4px; font: inherit; font-size: 20px;
  line-height: 26px; color: inherit; background: transparent; cursor: pointer;
}
.courseware-notice-close:hover { background: color-mix(in srgb, var(--edge) 25%, transparent); }
.courseware-notice-close:focus-visible { outline: 2px solid var(--edge); outline-offset: 1px; }
`;

  /* -- pure ----------------------------------------------------------------------------------------------------- */

  /** The languages to try, best first: chosen on the course's pages, JupyterLab's own, the browser's. */
  function languages(chosen) {
    const page = document.documentElement.lang;
    // English is what JupyterLab speaks before anybody has chosen anything.
    const spoken = page && !page.startsWith("en") ? [page] : [];
    return [...(chosen ? [chosen] : []), ...spoken, ...(navigator.languages || []), "en"];
  }

  /** The key of `texts` that suits best: the same language, else one without or with another region, else any. */
  function bestLanguage(texts, wanted) {
    const keys = Object.keys(texts);
    for (const language of wanted) {
      const short = language.split(/[-_]/)[0].toLowerCase();
      const found = keys.find(key => key.toLowerCase() === language.replace("_", "-").toLowerCase())
        || keys.find(key => key.split("-")[0].toLowerCase() === short);
      if (found) {
        return found;
      }
    }
    return keys[0];
  }

  /** 75 as 1:15. */
  function clockTime(seconds) {
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  /* -- the page ------------------------------------------------------------------------------------------------- */

  /** The banner: one line for each notice, kept as long as its text is the same, so that it is read out once. */
  class Banner {
    constructor(onClose) {
      this.onClose = onClose;
      this.chosenLanguage = null;
      this.lines = new Map();
      this.node = document.createElement("div");
      this.node.id = "courseware-notices";
      const style = document.createElement("style");
      style.textContent = STYLE;
      document.head.append(style);
      document.body.prepend(this.node);
      new ResizeObserver(() => this.makeRoom()).observe(this.node);
    }

    /** JupyterLab begins below the banner. */
    makeRoom() {
      document.documentElement.style.setProperty("--courseware-notices-height", `${this.node.offsetHeight}px`);
      window.dispatchEvent(new Event("resize"));
    }

    show(notices) {
      const wanted = new Set(notices.map(notice => notice.number));
      for (const [number, line] of this.lines) {
        if (!wanted.has(number)) {
          line.node.remove();
          this.lines.delete(number);
        }
      }
      for (const notice of notices) {
        if (!this.lines.has(notice.number)) {
          const line = this.makeLine(notice);
          this.lines.set(notice.number, line);
          this.node.append(line.node);
        }
      }
      this.makeRoom();
    }

    makeLine(notice) {
      const wanted = languages(this.chosenLanguage);
      const language = bestLanguage(notice.text, wanted);
      const level = notice.level in SIGNS ? notice.level : "info";
      const node = make("div", "courseware-notice");
      node.dataset.level = level;
      node.dataset.id = notice.id;
      const sign = make("span", "courseware-notice-sign", SIGNS[level]);
      sign.setAttribute("aria-hidden", "true");
      const text = make("span", "courseware-notice-text", notice.text[language]);
      text.setAttribute("role", "alert");
      text.lang = language;
      const time = make("span", "courseware-notice-time");
      time.setAttribute("role", "timer");
      time.hidden = true;
      const close = make("button", "courseware-notice-close", "×");
      close.type = "button";
      close.title = CLOSE[bestLanguage(CLOSE, wanted)];
      close.setAttribute("aria-label", close.title);
      close.addEventListener("click", () => this.onClose(notice));
      node.append(sign, text, time, close);
      return { node, time };
    }

    /** The seconds that are left, by number of the notice. */
    count(left) {
      for (const [number, line] of this.lines) {
        const seconds = left.get(number);
        line.time.hidden = seconds === undefined || seconds <= 0;
        line.time.textContent = line.time.hidden ? "" : clockTime(seconds);
      }
    }
  }

  function make(tag, className, text = "") {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    return node;
  }

  /** Which notices this tab has closed; remembered when the page is loaded again. */
  class Closed {
    constructor() {
      this.numbers = new Set();
      try {
        this.numbers = new Set(JSON.parse(sessionStorage.getItem(CLOSED) || "[]"));
      } catch { /* a browser that remembers nothing */ }
    }

    has(number) {
      return this.numbers.has(number);
    }

    add(number) {
      this.numbers.add(number);
      try {
        sessionStorage.setItem(CLOSED, JSON.stringify([...this.numbers].slice(-50)));
      } catch { /* a browser that remembers nothing */ }
    }
  }

  /* -- the plugin ----------------------------------------------------------------------------------------------- */

  class Notices {
    constructor(app) {
      this.app = app;
      this.closed = new Closed();
      this.notices = [];
      this.ends = new Map();     // number: when its countdown is over, in seconds of this page's clock
      this.saved = new Set();    // what was saved for: a number, and a number followed by "again"
      this.asking = false;
      this.ticks = 0;
      this.banner = new Banner(notice => {
        this.closed.add(notice.number);
        this.show();
      });
    }

    /** Once a second. */
    tick() {
      if (this.ticks++ % EVERY === 0) {
        this.ask();
      }
      this.count();
    }

    /** Ask the server; whatever goes wrong, what is shown stays, and the next question comes soon. */
    async ask() {
      if (this.asking) {
        return;
      }
      this.asking = true;
      try {
        const settings = this.app.serviceManager.serverSettings;
        const xsrf = /(?:^|;\s*)_xsrf=([^;]+)/.exec(document.cookie);
        const headers = { ...(settings.token && { Authorization: `token ${settings.token}` }) };
        const answer = await fetch(`${settings.baseUrl}courseware/notices`, {
          headers: xsrf ? { ...headers, "X-XSRFToken": xsrf[1] } : headers,
          cache: "no-store",
          credentials: "same-origin",
          signal: AbortSignal.timeout(PATIENCE),
        });
        if (answer.ok) {
          const { notices, language } = await answer.json();
          this.banner.chosenLanguage = language;
          this.take(notices);
        }
      } catch { /* quiet: the server may be away for a moment */
      } finally {
        this.asking = false;
      }
    }

    take(notices) {
      this.notices = notices;
      this.ends = new Map(notices.filter(n => n.seconds !== null).map(n => [n.number, now() + n.seconds]));
      this.show();
      notices.filter(notice => notice.save).forEach(notice => this.save(notice.number));
    }

    show() {
      this.banner.show(this.notices.filter(notice => !this.closed.has(notice.number)));
      this.count();
    }

    count() {
      const left = new Map([...this.ends].map(([number, end]) => [number, Math.max(0, Math.round(end - now()))]));
      this.banner.count(left);
      for (const notice of this.notices) {
        if (notice.save && left.get(notice.number) <= SAVE_AGAIN) {
          this.save(`${notice.number} again`);
        }
      }
    }

    /** Save every open document, once for each occasion. */
    async save(occasion) {
      if (this.saved.has(occasion)) {
        return;
      }
      this.saved.add(occasion);
      const commands = this.app.commands;
      try {
        if (commands.hasCommand("docmanager:save-all") && commands.isEnabled("docmanager:save-all")) {
          await commands.execute("docmanager:save-all");
        }
      } catch (error) {
        console.warn(`${NAME}: not everything could be saved`, error);
      }
    }
  }

  function now() {
    return performance.now() / 1000;
  }

  /** Call `tick` once a second, also in a tab that is in the background, where a page's own timers sleep. */
  function everySecond(tick) {
    const plainly = () => setInterval(tick, 1000);
    try {
      const worker = new Worker(URL.createObjectURL(new Blob(["setInterval(() => postMessage(0), 1000)"])));
      worker.onmessage = tick;
      worker.onerror = plainly;  // a policy that forbids workers made here
    } catch {
      plainly();
    }
  }

  const plugin = {
    id: `${NAME}:plugin`,
    description: "Shows the notices of a learner's server, and saves all documents when one says so.",
    autoStart: true,
    activate: app => {
      app.restored.then(() => {
        const notices = new Notices(app);
        notices.tick();
        everySecond(() => notices.tick());
      });
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: () => undefined,
    get: module => module === "./extension"
      ? Promise.resolve(() => ({ __esModule: true, default: plugin }))
      : Promise.reject(new Error(`${NAME} has no ${module}`)),
  };
})();

// Checks that run in the page; each gives the list of what is wrong.
({
  // controls that a screen reader would have no name for
  nameless() {
    const labelled = (e) => document.getElementById(e.getAttribute("aria-labelledby") ?? "")?.innerText;
    const labels = (e) => [...(e.labels ?? [])].map((label) => label.innerText).join(" ");
    const name = (e) => (e.getAttribute("aria-label") || labels(e) || e.innerText || e.title || labelled(e) || "").trim();
    const controls = "a[href], button, input:not([type=hidden]), select, textarea, summary, [role=region], progress";
    return [...document.querySelectorAll(controls)].filter((e) => e.checkVisibility() && !name(e)).map((e) => e.outerHTML.slice(0, 160));
  },

  doubled() {
    return [...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, at, all) => all.indexOf(id) !== at);
  },

  // references to ids that are not there
  broken() {
    const names = ["aria-controls", "aria-describedby", "aria-labelledby", "for"];
    const elements = document.querySelectorAll(names.map((name) => `[${name}]`).join(","));
    const ids = [...elements].flatMap((e) => names.flatMap((name) => (e.getAttribute(name) ?? "").split(" ").filter(Boolean)));
    return ids.filter((id) => !document.getElementById(id));
  },

  // WCAG contrast of each text token on each ground it stands on, as the browser resolves the tokens
  faint() {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (token) => {
      const probe = document.body.appendChild(document.createElement("i"));
      probe.style.color = `var(${token})`;
      canvas.fillStyle = getComputedStyle(probe).color;
      probe.remove();
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ratio = (a, b) => {
      const [light, dark] = [luminance(rgb(a)), luminance(rgb(b))].sort((p, q) => q - p);
      return (light + 0.05) / (dark + 0.05);
    };
    const pairs = [];
    for (const ground of ["--bg", "--surface", "--raised", "--sunken", "--hover"]) {
      for (const text of ["--text", "--text-2", "--text-3", "--accent", "--ok", "--warn", "--bad"]) pairs.push([text, ground, 4.5]);
    }
    for (const tone of ["ok", "warn", "bad", "accent"]) {
      pairs.push([`--${tone}`, `--${tone}-soft`, 4.5], ["--text", `--${tone}-soft`, 4.5]);
    }
    for (const fill of ["--accent-fill", "--accent-fill-hover", "--bad-fill"]) pairs.push(["--on-accent", fill, 4.5]);
    for (let n = 1; n <= 8; n += 1) pairs.push([`--c${n}`, "--surface", 4.5]);
    for (const ground of ["--bg", "--surface", "--raised"]) pairs.push(["--control-line", ground, 3]);
    return pairs.map(([a, b, wanted]) => [a, b, ratio(a, b), wanted]).filter(([, , got, wanted]) => !(got >= wanted));
  },
})

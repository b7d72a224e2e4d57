// "The same in Python, CLI, curl" of exactly this view: written anew whenever the view changes.
import { meant, question } from "./state.js";

const py = (value) => JSON.stringify(value);
const sh = (value) => `'${String(value).replaceAll("'", `'\\''`)}'`;

/** The snippets of a view, by language. Pure. */
export function snippets(state, { slug, origin, api, experiments, columns }) {
  const filter = meant(state.filter);
  const names = state.experiment.map((id) => experiments[id]).filter(Boolean);
  // what MLflow's grammar has no word for (best, min, max) is ours alone
  const orders = state.sort.filter((order) => !/^(min|max|best)\(/.test(order));
  const python = [
    "import mlflow", "", `mlflow.set_tracking_uri(${py(origin)})  # MLFLOW_TRACKING_TOKEN holds your token`, "runs = mlflow.search_runs(",
    names.length ? `    experiment_names=${py(names)},` : "    search_all_experiments=True,",
    ...(filter ? [`    filter_string=${py(filter)},`] : []), ...(orders.length ? [`    order_by=${py(orders)},`] : []),
    ...(state.deleted ? ["    run_view_type=mlflow.entities.ViewType.DELETED_ONLY,"] : []), ")",
  ].join("\n");
  const cli = ["headway runs list", `--project ${slug}`, ...(filter ? [`--filter ${sh(filter)}`] : []), ...state.sort.map((order) => `--order ${sh(order)}`)].join(" ");
  const asked = question(state, filter);
  columns.filter((id) => /[.(]/.test(id)).forEach((id) => asked.append("column", id));
  const curl = `curl -H "Authorization: Bearer $HEADWAY_TOKEN" \\\n  ${sh(`${origin}${api}/export?format=csv&${asked}`)} -o runs.csv`;
  return { Python: python, CLI: cli, curl };
}

export function same(explorer) {
  const box = document.querySelector("details.same");
  if (!box) return;
  const found = snippets(explorer.state, { slug: explorer.root.dataset.slug, origin: location.origin, api: explorer.api, experiments: explorer.setup.experiments, columns: explorer.ids() });
  for (const tab of box.querySelectorAll('[role="tab"]')) {
    const code = document.getElementById(tab.getAttribute("aria-controls"))?.querySelector("pre code");
    if (code && found[tab.textContent] && code.textContent.trim() !== found[tab.textContent]) code.textContent = found[tab.textContent];
  }
}

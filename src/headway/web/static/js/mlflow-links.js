// MLflow's client prints http://server/#/experiments/1/runs/<id>; its own page would open that, so ours does too.
const found = /^#\/experiments\/(\d+)(?:\/runs\/([0-9a-zA-Z_-]+))?/.exec(location.hash);
if (found) location.replace(found[2] ? `/runs/${found[2]}` : `/experiments/${found[1]}`);

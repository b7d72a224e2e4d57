"""Miles per gallon from a car's data sheet, by boosted trees.

python train.py --lr 0.1 --depth 3
"""

import argparse

import pandas as pd
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from xgboost import XGBRegressor

COLUMNS = {
    "Miles_per_Gallon": "mpg",
    "Cylinders": "cylinders",
    "Horsepower": "horsepower",
    "Acceleration": "seconds_to_60",
}


def load(path):
    cars = pd.read_csv(path).dropna(subset=["Miles_per_Gallon"]).rename(columns=COLUMNS)
    cars["year"] = pd.to_datetime(cars["Year"]).dt.year
    cars["litres"] = cars["Displacement"] * 0.0163871
    cars["weight_kg"] = cars["Weight_in_lbs"] * 0.45359237
    cars["from_japan"] = cars["Origin"] == "Japan"
    features = ["cylinders", "litres", "horsepower", "weight_kg", "seconds_to_60", "year", "from_japan"]
    return cars[features], cars["mpg"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cars.csv", help="the cars")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate")
    parser.add_argument("--depth", type=int, default=3, help="depth of a tree")
    parser.add_argument("--trees", type=int, default=400, help="how many trees at most")
    parser.add_argument("--patience", type=int, default=40, help="trees without progress before it stops")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    X, y = load(args.data)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=args.seed)
    X_fit, X_val, y_fit, y_val = train_test_split(X_train, y_train, test_size=0.2, random_state=args.seed)
    print(f"{len(X_fit)} cars to learn from, {len(X_val)} to decide when to stop, {len(X_test)} to test on")

    model = XGBRegressor(
        n_estimators=args.trees,
        learning_rate=args.lr,
        max_depth=args.depth,
        subsample=0.8,
        early_stopping_rounds=args.patience,
        random_state=args.seed,
        n_jobs=2,
    )
    model.fit(X_fit, y_fit, eval_set=[(X_val, y_val)], verbose=50)

    predicted = model.predict(X_test)
    rmse = root_mean_squared_error(y_test, predicted)
    mae = mean_absolute_error(y_test, predicted)
    r2 = r2_score(y_test, predicted)
    print(f"rmse: {rmse:.3f}")
    print(f"mae: {mae:.3f}")
    print(f"r2: {r2:.3f}")
    print(f"used {model.best_iteration + 1} trees")


if __name__ == "__main__":
    main()

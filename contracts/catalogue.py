"""The product catalogue: what can be ordered, with speeds and monthly fees (TMF620 product offerings)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["internet", "tv"]


class Product(BaseModel):
    """One product offering. Speeds in Mbit/s, the fee in South Korean won a month, tax included."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    name_ko: str
    name_en: str
    down_mbps: int | None = None
    up_mbps: int | None = None
    channels: int | None = None
    monthly_fee_krw: int


_PRODUCTS = (
    Product(id="internet-100", kind="internet", name_ko="인터넷 100M", name_en="Internet 100M",
            down_mbps=100, up_mbps=100, monthly_fee_krw=22000),
    Product(id="internet-500", kind="internet", name_ko="인터넷 500M", name_en="Internet 500M",
            down_mbps=500, up_mbps=500, monthly_fee_krw=33000),
    Product(id="internet-1000", kind="internet", name_ko="인터넷 1기가", name_en="Internet 1G",
            down_mbps=1000, up_mbps=1000, monthly_fee_krw=38500),
    Product(id="tv-basic", kind="tv", name_ko="TV 베이직", name_en="TV Basic",
            channels=180, monthly_fee_krw=12100),
    Product(id="tv-premium", kind="tv", name_ko="TV 프리미엄", name_en="TV Premium",
            channels=260, monthly_fee_krw=18700),
)

PRODUCTS: dict[str, Product] = {product.id: product for product in _PRODUCTS}

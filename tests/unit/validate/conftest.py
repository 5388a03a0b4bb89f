"""Great Expectations itself, on pandas."""

import pyarrow as pa
import pytest
from gx_reference import gx_class

from governance.model.contract import Rule


@pytest.fixture(scope="module")
def by_gx():
    gx_class("expect_column_to_exist")
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    definition = asset.add_batch_definition_whole_dataframe("b")

    def evaluate(data: pa.Table, suite: list[Rule]):
        batch = definition.get_batch({"dataframe": data.to_pandas(date_as_object=True)})
        for each in suite:
            expectation = gx_class(each.expectation)(**each.arguments)
            yield each, batch.validate(expectation, result_format="SUMMARY")

    return evaluate

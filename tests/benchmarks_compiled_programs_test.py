"""Programs in the form that XLA writes them, counted."""

import importlib.util

import pytest

from benchmarks import accelerators
from benchmarks.compiled_programs import profile

PROGRAM = """HloModule jit_step, is_scheduled=true

%fused_add (param_0: f32[1000,1000], param_1: f32[4,1000,1000], param_2: s32[]) -> f32[1000,1000] {
  %param_0 = f32[1000,1000]{1,0} parameter(0)
  %param_1 = f32[4,1000,1000]{2,1,0} parameter(1)
  %param_2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  %view.1 = f32[4,1000,1000]{2,1,0} bitcast(%param_1)
  %part.1 = f32[2,1000,1000]{2,1,0} dynamic-slice(%view.1, %param_2, %zero, %zero)
  %first.1 = f32[1,1000,1000]{2,1,0} slice(%part.1), slice={[0:1], [0:1000], [0:1000]}
  %flat.1 = f32[1000,1000]{1,0} bitcast(%first.1)
  ROOT %add.1 = f32[1000,1000]{1,0} add(%param_0, %flat.1)
}

%fused_transpose (param_0.1: f32[1000,1000]) -> f32[1000,1000] {
  %param_0.1 = f32[1000,1000]{1,0} parameter(0)
  ROOT %transpose.1 = f32[1000,1000]{1,0} transpose(%param_0.1), dimensions={1,0}
}

%inner_condition (state.1: (s32[], f32[1000,1000])) -> pred[] {
  %state.1 = (s32[], f32[1000,1000]{1,0}) parameter(0)
  %number.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %compare.1 = pred[] compare(%number.1, %number.1), direction=LT
}

%inner_body (state.2: (s32[], f32[1000,1000])) -> (s32[], f32[1000,1000]) {
  %state.2 = (s32[], f32[1000,1000]{1,0}) parameter(0)
  %number.2 = s32[] get-tuple-element(%state.2), index=0
  %value.2 = f32[1000,1000]{1,0} get-tuple-element(%state.2), index=1
  %product.2 = f32[1000,1000]{1,0} custom-call(%value.2, %value.2), custom_call_target="__cublas$gemm"
  ROOT %tuple.2 = (s32[], f32[1000,1000]{1,0}) tuple(%number.2, %product.2)
}

%outer_condition (state.3: (s32[], f32[1000,1000])) -> pred[] {
  %state.3 = (s32[], f32[1000,1000]{1,0}) parameter(0)
  %number.3 = s32[] get-tuple-element(%state.3), index=0
  ROOT %compare.3 = pred[] compare(%number.3, %number.3), direction=LT
}

%outer_body (state.4: (s32[], f32[1000,1000])) -> (s32[], f32[1000,1000]) {
  %state.4 = (s32[], f32[1000,1000]{1,0}) parameter(0)
  %loop.4 = (s32[], f32[1000,1000]{1,0}) while(%state.4), condition=%inner_condition, body=%inner_body
  %number.4 = s32[] get-tuple-element(%loop.4), index=0
  %value.4 = f32[1000,1000]{1,0} get-tuple-element(%loop.4), index=1
  %turned.4 = f32[1000,1000]{1,0} fusion(%value.4), kind=kInput, calls=%fused_transpose
  ROOT %tuple.4 = (s32[], f32[1000,1000]{1,0}) tuple(%number.4, %turned.4)
}

ENTRY %main.9 (first: f32[1000,1000], second: f32[4,1000,1000], third: s32[]) -> s32[] {
  %first = f32[1000,1000]{1,0} parameter(0)
  %second = f32[4,1000,1000]{2,1,0} parameter(1)
  %third = s32[] parameter(2)
  %sum.5 = f32[1000,1000]{1,0} fusion(%first, %second, %third), kind=kLoop, calls=%fused_add
  %tuple.5 = (s32[], /*index=1*/f32[1000,1000]{1,0}) tuple(%third, %sum.5)
  %loop.5 = (s32[], f32[1000,1000]{1,0}) while(%tuple.5), LOOP, backend_config=TRIPS
  ROOT %number.5 = s32[] get-tuple-element(%loop.5), index=0
}
""".replace('LOOP', 'condition=%outer_condition, body=%outer_body').replace(
    'TRIPS', '{"known_trip_count":{"n":"3"}}'
)


def test_kernels_are_counted_as_often_as_their_loops_turn():
    found = profile(PROGRAM, turns=10)
    # The sum; three times a transpose, ten products, and eleven conditions of a loop bounded by data.
    assert found.kernels == 1 + 3 * (1 + 10 + 11)
    assert found.data_bounded_loops == 3
    assert found.conditions_read == 33
    assert found.products == {'cublas': 30}
    assert found.large_copies == 3 and found.large_copy_bytes == 3 * 4e6


def test_of_an_array_that_is_sliced_only_the_part_is_moved():
    found = profile(PROGRAM, turns=0)
    conditions = 3 * 9  # two numbers of 4 bytes and a bool
    assert found.moved_bytes == pytest.approx(3 * 4e6 + 3 * 2 * 4e6 + conditions, abs=10)


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match=r'e3d\[cuda12\]'):
        accelerators.describe(accelerators.CHIPS['h100'])

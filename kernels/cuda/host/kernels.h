// All kernels: the runtimes define `Stream::launch` for each of them.
#pragma once

#include "cuda/body/assign.h"
#include "cuda/body/candidates.h"
#include "cuda/body/compress.h"
#include "cuda/body/interaction.h"
#include "cuda/body/query.h"
#include "cuda/body/rank.h"
#include "cuda/body/rescore.h"

#define WEFT_SEARCH_KERNELS(define) \
  define(QuantizeQuery)             \
  define(FitRange)                  \
  define(FitLimits)                 \
  define(ScoreCentroids)            \
  define(ChooseProbes)              \
  define(Accumulate)                \
  define(TakeAll)                   \
  define(CountDigits<0>)            \
  define(CountDigits<1>)            \
  define(CountChosen)               \
  define(CollectChosen)             \
  define(Interact)                  \
  define(KeepBest)                  \
  define(Rescore<1>)                \
  define(Rescore<2>)                \
  define(Rescore<4>)                \
  define(Rescore<8>)                \
  define(Rank<false>)               \
  define(ScoreExactly)              \
  define(Rank<true>)

#define WEFT_BUILD_KERNELS(define) \
  define(ToBfloats)                \
  define(Assign<true>)             \
  define(Assign<false>)            \
  define(ChooseBetter)             \
  define(Compress)                 \
  define(SumRows)                  \
  define(Recentre)

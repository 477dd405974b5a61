#pragma once

#include "relprop/error.h"
#include "relprop/finite.h"
#include "relprop/maximize.h"
#include "relprop/model.h"
#include "relprop/plan.h"
#include "relprop/prior.h"
#include "relprop/rules.h"

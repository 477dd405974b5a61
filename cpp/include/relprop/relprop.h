#pragma once

#include "relprop/error.h"
#include "relprop/model.h"
#include "relprop/plan.h"
#include "relprop/rules.h"

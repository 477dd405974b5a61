#pragma once

#if defined(_WIN32)
#if defined(RELPROP_BUILDING)
#define RELPROP_API __declspec(dllexport)
#else
#define RELPROP_API __declspec(dllimport)
#endif
#else
#define RELPROP_API __attribute__((visibility("default")))
#endif

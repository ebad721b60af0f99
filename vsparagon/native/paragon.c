/*
 * core.paragon: a VapourSynth plugin whose functions are written in Python.
 *
 * VapourSynth gives a namespace only to a native library, so this one owns the namespace and forwards every call to
 * vsparagon.plugin. It does not link libpython: it uses the interpreter that already runs in the process.
 *
 *   1. A script calls core.paragon.Upscale(...). enter_python() records the call as this thread's innermost one and
 *      runs vsparagon.plugin.call("Upscale") in Python.
 *   2. vsparagon.plugin.call() answers by calling core.paragon.internal_run(func=...). VapourSynth's own Python module
 *      turns that Python callable into a VSFunction of the current environment.
 *   3. internal_run() has VapourSynth call the function with the arguments of step 1. VapourSynth thus converts all
 *      arguments and the result; this library need not know Python's data model.
 *
 * The library keeps nothing between calls, so environments and cores may come and go.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <VapourSynth4.h>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#if !defined(PARAGON_VERSION_MAJOR) || !defined(PARAGON_VERSION_MINOR)
#error "setup.py defines PARAGON_VERSION_MAJOR and PARAGON_VERSION_MINOR from vsparagon/__init__.py"
#endif

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

#define MESSAGE_SIZE 4096

/* A call of a public function that is waiting for Python's answer. */
typedef struct Call {
    VSCore *core;
    const VSMap *in;
    VSMap *out;
    bool answered;
    struct Call *outer; /* calls nest: a function of this namespace may call another one */
} Call;

static THREAD_LOCAL Call *waiting;

/* The functions of Python's stable ABI that are used; every object is opaque. */
typedef struct Python {
    int (*is_initialized)(void);
    int (*gil_ensure)(void);
    void (*gil_release)(int state);
    void *(*import_module)(const char *name);
    void *(*call_method)(void *object, const char *name, const char *format, ...);
    void *(*get_raised)(void);
    void *(*get_attribute)(void *object, const char *name);
    void *(*str)(void *object);
    const char *(*utf8)(void *text, ptrdiff_t *size);
    void *(*sys_object)(const char *name);
    void (*clear_error)(void);
    void (*release)(void *object);
} Python;

static void (*python_symbol(const char *name))(void) {
#ifdef _WIN32
    /* python3.dll forwards the stable ABI to whichever python3xx.dll runs; VapourSynth's Python module has loaded it
     * (python3t.dll in a free-threaded Python). */
    HMODULE library = GetModuleHandleA("python3.dll");
    if (!library)
        library = GetModuleHandleA("python3t.dll");
    return library ? (void (*)(void))GetProcAddress(library, name) : NULL;
#else
    void *object = dlsym(RTLD_DEFAULT, name);
    void (*function)(void);
    memcpy(&function, &object, sizeof function); /* ISO C has no cast from an object to a function */
    return function;
#endif
}

/* Look up the symbols on every call: that takes microseconds, needs no lock, and allows a host to start Python late.
 * Returns false if this process runs no Python that has all of them. */
static bool find_python(Python *py) {
#define FIND(member, symbol)                                                                                           \
    do {                                                                                                               \
        void (*function)(void) = python_symbol(symbol);                                                                \
        if (!function)                                                                                                 \
            return false;                                                                                              \
        memcpy(&py->member, &function, sizeof py->member);                                                             \
    } while (0)
    FIND(is_initialized, "Py_IsInitialized");
    FIND(gil_ensure, "PyGILState_Ensure");
    FIND(gil_release, "PyGILState_Release");
    FIND(import_module, "PyImport_ImportModule");
    FIND(call_method, "PyObject_CallMethod");
    FIND(get_raised, "PyErr_GetRaisedException");
    FIND(get_attribute, "PyObject_GetAttrString");
    FIND(str, "PyObject_Str");
    FIND(utf8, "PyUnicode_AsUTF8AndSize");
    FIND(sys_object, "PySys_GetObject");
    FIND(clear_error, "PyErr_Clear");
    FIND(release, "Py_DecRef");
#undef FIND
    return py->is_initialized() != 0;
}

/* A message that is written piece by piece; what does not fit is left out. */
typedef struct Message {
    size_t length;
    char text[MESSAGE_SIZE];
} Message;

static void add(Message *message, const char *piece) {
    for (; *piece && message->length < MESSAGE_SIZE - 1; piece++)
        message->text[message->length++] = *piece;
    message->text[message->length] = '\0';
}

/* Add str(object), or "?" on failure. object may be NULL; no exception remains set. */
static void add_object(Message *message, const Python *py, void *object) {
    void *string = object ? py->str(object) : NULL;
    const char *utf8 = string ? py->utf8(string, NULL) : NULL;
    add(message, utf8 ? utf8 : "?");
    py->clear_error();
    if (string)
        py->release(string);
}

/* Add "Type: message", or only the message of a RuntimeError, which vsparagon.plugin raises with a complete sentence.
 * Releases the exception, which may be NULL. */
static void add_exception(Message *message, const Python *py, void *exception) {
    void *type = exception ? py->get_attribute(exception, "__class__") : NULL;
    void *name = type ? py->get_attribute(type, "__name__") : NULL;
    size_t before = message->length;

    add_object(message, py, name);
    if (strcmp(message->text + before, "RuntimeError") == 0)
        message->length = before;
    else
        add(message, ": ");
    add_object(message, py, exception);

    if (name)
        py->release(name);
    if (type)
        py->release(type);
    if (exception)
        py->release(exception);
}

/* Run vsparagon.plugin.call(function); the caller holds the GIL. If that raises, add the reason and return false. */
static bool call_plugin(Message *message, const Python *py, const char *function) {
    void *plugin = py->import_module("vsparagon.plugin");
    if (!plugin) {
        void *exception = py->get_raised();
        add(message, "the Python of this process (");
        add_object(message, py, py->sys_object("prefix"));
        add(message, ") cannot import vsparagon (");
        add_exception(message, py, exception);
        add(message, "); install it there with \"python -m pip install vsparagon\", or let `vapoursynth config` choose "
                     "the Python that has it");
        return false;
    }
    void *nothing = py->call_method(plugin, "call", "s", function);
    py->release(plugin);
    if (!nothing) {
        add_exception(message, py, py->get_raised());
        return false;
    }
    py->release(nothing);
    return true;
}

/* The entry point of every public function; userData is the function's name. */
static void VS_CC enter_python(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) {
    const char *function = userData;
    Message message = {.length = 0};
    Python py;
    Call call = {.core = core, .in = in, .out = out, .answered = false, .outer = waiting};

    add(&message, "paragon.");
    add(&message, function);
    add(&message, ": ");
    if (!find_python(&py)) {
        add(&message, "this program runs no Python 3.12 or later, which this filter is written in; open the script with "
                      "vspipe, with Python itself or with another program that uses VSScript");
    } else {
        waiting = &call;
        int state = py.gil_ensure();
        bool returned = call_plugin(&message, &py, function);
        py.gil_release(state);
        waiting = call.outer;
        if (call.answered)
            return; /* out holds the result, or an error with a complete message */
        if (returned)
            add(&message, "vsparagon.plugin gave no answer");
    }
    vsapi->mapSetError(out, message.text);
}

/* internal_run(func): call func with the arguments of the call waiting on this thread, and give that call the result.
 *
 * An error of func goes to the waiting call, not to this one. VapourSynth keeps the underlying Python exception and
 * raises it in the script's call, so KeyboardInterrupt and SystemExit arrive there unchanged. */
static void VS_CC internal_run(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) {
    Call *call = waiting;
    (void)userData;

    if (!call || call->answered) {
        vsapi->mapSetError(out, "paragon.internal_run: belongs to the other functions of this namespace");
        return;
    }
    if (call->core != core) {
        vsapi->mapSetError(out, "the Python environment of this thread belongs to another VapourSynth core than the one "
                                "that was called; call the filter from the script or environment that owns the core");
        return;
    }

    VSFunction *function = vsapi->mapGetFunction(in, "func", 0, NULL);
    VSMap *result = vsapi->createMap();
    int unset;
    vsapi->callFunction(function, call->in, result);
    vsapi->freeFunction(function);

    const char *error = vsapi->mapGetError(result);
    if (!error)
        error = vsapi->mapGetData(result, "error", 0, &unset); /* vsparagon.plugin returns its messages like this */
    if (error)
        vsapi->mapSetError(call->out, error);
    else
        vsapi->copyMap(result, call->out);
    call->answered = true;
    vsapi->freeMap(result);
}

typedef struct Failure {
    VSVideoInfo info;
    Message message;
} Failure;

static const VSFrame *VS_CC fail_frame(int n, int reason, void *instance, void **frame_data, VSFrameContext *context,
                                       VSCore *core, const VSAPI *vsapi) {
    (void)n, (void)reason, (void)frame_data, (void)core;
    vsapi->setFilterError(((Failure *)instance)->message.text, context);
    return NULL;
}

static void VS_CC free_failure(void *instance, VSCore *core, const VSAPI *vsapi) {
    (void)core, (void)vsapi;
    free(instance);
}

/* internal_fail(clip, message): a clip like the given one in which every frame fails with that error. An exception in a
 * Python callback would show the user a traceback; a frame of this clip gives one line. */
static void VS_CC internal_fail(const VSMap *in, VSMap *out, void *userData, VSCore *core, const VSAPI *vsapi) {
    (void)userData;
    Failure *failure = calloc(1, sizeof *failure);
    if (!failure) {
        vsapi->mapSetError(out, "out of memory");
        return;
    }
    VSNode *clip = vsapi->mapGetNode(in, "clip", 0, NULL);
    failure->info = *vsapi->getVideoInfo(clip);
    vsapi->freeNode(clip);
    add(&failure->message, vsapi->mapGetData(in, "message", 0, NULL));
    vsapi->createVideoFilter(out, "internal_fail", &failure->info, fail_frame, free_failure, fmParallel, NULL, 0,
                             failure, core);
}

VS_EXTERNAL_API(void) VapourSynthPluginInit2(VSPlugin *plugin, const VSPLUGINAPI *vspapi) {
    /* Autoload runs before a script can refer to a core, so nothing here may touch Python. */
    vspapi->configPlugin("io.github.vsparagon", "paragon", "Neural upscaling",
                         VS_MAKE_VERSION(PARAGON_VERSION_MAJOR, PARAGON_VERSION_MINOR), VAPOURSYNTH_API_VERSION, 0,
                         plugin);
    vspapi->registerFunction("Upscale",
                             "clip:vnode;"
                             "variant:data:opt;"
                             "scale:int:opt;"
                             "profile:data:opt;"
                             "model:data:opt;"
                             "backend:data:opt;"
                             "device_id:int:opt;"
                             "precision:data:opt;"
                             "width:int:opt;"
                             "height:int:opt;"
                             "format:int:opt;"
                             "matrix:data:opt;"
                             "tilesize:int[]:opt:empty;"
                             "overlap:int[]:opt:empty;"
                             "memory_mb:int:opt;"
                             "num_streams:int:opt;"
                             "cache:data:opt;"
                             "chroma:data:opt;",
                             "clip:vnode;", enter_python, "Upscale", plugin);
    vspapi->registerFunction("Version", "", "version:data;", enter_python, "Version", plugin);
    vspapi->registerFunction("Backends", "", "backends:data[];", enter_python, "Backends", plugin);
    vspapi->registerFunction("Models", "", "models:data[];", enter_python, "Models", plugin);
    vspapi->registerFunction("internal_run", "func:func;", "", internal_run, NULL, plugin);
    vspapi->registerFunction("internal_fail", "clip:vnode;message:data;", "clip:vnode;", internal_fail, NULL, plugin);
}

/* Hosts for test_bridge.py: programs other than Python, which evaluate scripts or only use VapourSynth.
 *
 *   host bare LIBVAPOURSYNTH          call paragon.Version on a core, without a Python in the process
 *   host scripts LIBVSSCRIPT SCRIPT   evaluate SCRIPT in two environments at once, again in the first, and then anew
 *   host foreign LIBVSSCRIPT SCRIPT   call paragon.Version on a core that no Python environment owns
 *   host outside LIBVSSCRIPT SCRIPT   call paragon.Version on a script's core when the script is not being evaluated
 *
 * Prints one line for each call: the width of output 0 and of its first frame, or "error: " and the message.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <VSScript4.h>

static void call_version(VSCore *core, const VSAPI *vsapi) {
    VSPlugin *plugin = vsapi->getPluginByNamespace("paragon", core);
    if (!plugin) {
        puts("error: the plugin is not loaded");
        return;
    }
    VSMap *arguments = vsapi->createMap();
    VSMap *result = vsapi->invoke(plugin, "Version", arguments);
    const char *error = vsapi->mapGetError(result);
    printf("%s%s\n", error ? "error: " : "", error ? error : vsapi->mapGetData(result, "version", 0, NULL));
    vsapi->freeMap(result);
    vsapi->freeMap(arguments);
}

static VSScript *evaluate(VSScript *script, const char *text, const VSSCRIPTAPI *api, const VSAPI *vsapi) {
    if (!script)
        script = api->createScript(NULL);
    if (api->evaluateBuffer(script, text, "host.vpy")) {
        printf("error: %s\n", api->getError(script));
        return script;
    }
    VSNode *node = api->getOutputNode(script, 0);
    char message[256] = "no output";
    const VSFrame *frame = node ? vsapi->getFrame(0, node, message, sizeof message) : NULL;
    if (frame)
        printf("%d %d\n", vsapi->getVideoInfo(node)->width, vsapi->getFrameWidth(frame, 0));
    else
        printf("error: %s\n", message);
    vsapi->freeFrame(frame);
    vsapi->freeNode(node);
    return script;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    const char *mode = argv[1];
    void *library = dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (!strcmp(mode, "bare")) {
        VSGetVapourSynthAPI get;
        *(void **)&get = dlsym(library, "getVapourSynthAPI");
        const VSAPI *vsapi = get(VAPOURSYNTH_API_VERSION);
        VSCore *core = vsapi->createCore(0);
        call_version(core, vsapi);
        vsapi->freeCore(core);
        return 0;
    }

    const VSSCRIPTAPI *(*get)(int);
    *(void **)&get = dlsym(library, "getVSScriptAPI");
    const VSSCRIPTAPI *api = get(VSSCRIPT_API_VERSION);
    if (!api) {
        fprintf(stderr, "VSScript cannot start Python\n");
        return 1;
    }
    const VSAPI *vsapi = api->getVSAPI(VAPOURSYNTH_API_VERSION);
    VSScript *first = evaluate(NULL, argv[3], api, vsapi);
    if (!strcmp(mode, "scripts")) {
        VSScript *second = evaluate(NULL, argv[3], api, vsapi);
        evaluate(first, argv[3], api, vsapi);
        api->freeScript(first);
        first = NULL;
        evaluate(second, argv[3], api, vsapi);
        api->freeScript(second);
        for (int i = 0; i < 3; i++)
            api->freeScript(evaluate(NULL, argv[3], api, vsapi));
    } else if (!strcmp(mode, "foreign")) {
        VSCore *core = vsapi->createCore(0);
        call_version(core, vsapi);
        vsapi->freeCore(core);
    } else {
        call_version(api->getCore(first), vsapi);
    }
    if (first)
        api->freeScript(first);
    return 0;
}

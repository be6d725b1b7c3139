# Looks at what exports.cpp became: OBJECT has no symbol of c4c that two objects could not both have or that keeps a
# library from being unloaded, and LIBRARY, made with hidden visibility, gives none to others.
function(c4c_symbols variable)
  execute_process(COMMAND ${NM} --defined-only ${ARGN} OUTPUT_VARIABLE out COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" out "${out}")
  set(${variable} ${out} PARENT_SCOPE)
endfunction()

# Mangled names of what is in the namespace; an instance of a std template for a type of ours has more before it.
set(OURS "_Z[A-Z]*3c4c")

c4c_symbols(inside ${OBJECT})
set(weak ${inside})
list(FILTER weak INCLUDE REGEX " [WV] ${OURS}")
set(strong ${inside})
list(FILTER strong INCLUDE REGEX " [A-UX-Zu] ${OURS}")
c4c_symbols(outside -D ${LIBRARY})
set(entry ${outside})
list(FILTER entry INCLUDE REGEX " T use_everything$")
list(FILTER outside INCLUDE REGEX "${OURS}")

list(LENGTH weak found)
if(NOT entry OR found EQUAL 0)
  message(FATAL_ERROR "the object holds nothing of c4c, or its function is not exported: there is nothing to look at")
endif()
if(strong)
  message(FATAL_ERROR "not inline: ${strong}")
endif()
if(outside)
  message(FATAL_ERROR "exported: ${outside}")
endif()
message(STATUS "${found} symbols of c4c, all of them inline, none exported")
